//! The layouts that are well known, the most telling first: of two that fit a line, the one that says
//! more about it stands before the other.

/// Layouts of log4j, logback, JUL, python, Ruby, Go, Rust, .NET, servers and kin.
pub(in crate::etl::parse) const LAYOUTS: &[&str] = &[
    // ZooKeeper
    "%d [myid:%T{myid}] - %p [%t:%c@%L] - %m",
    "%d - %p [%t:%c@%L] - %m",
    "%d - %p [%t] - %m",
    // Spring Boot 3 with an application name, Spring Boot
    "%d %p %pid --- [%T{application}] [%t] %c : %m",
    "%d %p %pid --- [%t] %c : %m",
    // Cassandra
    "%p [%t] %d %F:%L - %m",
    // Elasticsearch and OpenSearch
    "[%d][%p][%c] [%X{node}] %m",
    "[%d][%p][%c] %m",
    // httpd 2.4, then the error log of httpd before it
    "[%d] [%c:%p] [pid %pid:tid %tid] %m",
    "[%d] [%c:%p] [pid %pid] %m",
    "[%d] [%c:%p] %m",
    // Airflow, celery, gunicorn, Laravel
    "[%d] {%F:%L} %p - %m",
    "[%d: %p/%X{process}] %m",
    "[%d] [%pid] [%p] %m",
    "[%d] %X{channel}.%p: %m",
    // Kafka and Kafka Connect
    "[%d] %p [%t] %m (%c)",
    "[%d] %p %m (%c)",
    // env_logger, Rails, PHP
    "[%d %p %c] %m",
    "%X{severity_id}, [%d #%pid] %p -- %X{program}: %m",
    "%X{severity_id}, [%d #%pid] %p -- : %m",
    "[%d] PHP %p: %m",
    // loguru
    "%d | %p | %c:%M:%L - %m",
    // Android's logcat
    "%d %pid %tid %p{1} %T{logger}: %m",
    // klog and glog
    "%p{1}%d{MMdd HH:mm:ss} %tid %F:%L] %m",
    "%p{1}%d{yyyyMMdd HH:mm:ss} %tid %F:%L] %m",
    // MySQL, PostgreSQL, nginx's error log, MongoDB before 4.4, Redis
    "%d %tid [%p] [%X{code}] [%X{subsystem}] %m",
    "%d %tid [%p] %m",
    "%d [%pid] %X{user}@%X{database} %p: %m",
    "%d [%pid] %p: %m",
    "%d [%p] %pid#%tid: %m",
    "%d %p{1} %c [%t] %m",
    "%pid:%X{role} %d %X{level} %m",
    // Blue Gene/L, clusters with a label and the epoch before a syslog line
    "%X{label} %d{UNIX} %X{date} %X{node} %X{time} %X{node_repeat} %X{type} %c %p %m",
    "%X{label} %d{UNIX} %X{date} %X{user} %X{month} %X{day} %X{time} %X{host} %X{process}[%pid]: %m",
    "%X{label} %d{UNIX} %X{date} %X{user} %X{month} %X{day} %X{time} %X{host} %X{process}: %m",
    "%X{label} %d{UNIX} %X{date} %X{user} %X{month} %X{day} %X{time} %X{host} %m",
    // OpenStack, with the file's name before it where files were joined
    "%X{file} %d %pid %p %c [%T{request}] %m",
    "%d %pid %p %c [%T{request}] %m",
    "%X{file} %d %pid %p %c %m",
    // Hadoop's HDFS with the process, Hadoop, HBase, logback, log4j
    "%d %pid %p %c: %m",
    "%d %p [%t] %c: %m",
    "%d %p [%t] %c - %m",
    "%d [%t] %p %c:%L - %m",
    "%d [%t] %p %c - %m",
    "%d [%t] %p %c: %m",
    "%d %p (%t) [%T{core}] %c %m",
    "%d %p [%c] (%t) %m",
    "%d %p [%t] (%F:%L) - %m",
    "%d %p [%t] %C %m",
    "%d [%t] %p %C %m",
    "%d [%p] [%t] %c: %m",
    "%d [%p] [%t] %c - %m",
    "%d [%t] [%p] %c: %m",
    "%d [%t] [%p] %c - %m",
    "%d [%p] [%c] %m",
    "[%d] [%p] [%c] %m",
    "[%d] [%t] %p %c - %m",
    "[%d] %p [%c] %m",
    "%d %p [%t] %m",
    "%d [%t] %p %m",
    "%d [%t] [%p] %m",
    // zap, `%-5p %c{1}:%L - %m`
    "%d %p %F:%L %m",
    "%d %p %c:%L - %m",
    "%d %p %c - %m",
    "%d %p %c: %m",
    // python and the like
    "%d - %c - %p - %m",
    "%d - %p - %c - %m",
    "%d [%p] %c: %m",
    "%d [%p] %c - %m",
    "%d %c %p: %m",
    "%d %c[%pid]: %p: %m",
    "%d - %p - %m",
    "%d | %p | %c | %m",
    "%d|%p|%c|%m",
    "%d | %p | %m",
    "%d|%p|%m",
    "%d|%c|%pid|%m",
    // Windows CBS
    "%d, %p %c %m",
    "%d, %p %m",
    // systems that write no level
    "[%d] %T{process} - %m",
    "%X{id} %X{node} %c %X{state} %d{UNIX} %X{flag} %m",
    // a level and no more
    "[%d] [%p] %m",
    "%d [%p]: %m",
    "%d [%p] %m",
    "[%d] %p: %m",
    "[%d] %p %m",
    "[%d %p] %m",
    "%d %p: %m",
    TEXT,
    "%p %d - %m",
    "%p %d %m",
    "%p: %d %m",
    "[%p] %d %m",
    "[%p] [%d] %m",
    // a place in the source and no level
    "%d %F:%L: %m",
    "%d [%t] %m",
    // a timestamp and no more
    "[%d] %m",
    "%d: %m",
    "%d - %m",
    TIME_AND_MESSAGE,
    "%d{UNIX} %m",
    // no time
    "%p:%c:%m",
    "%p: %m",
    "[%p] %m",
    "%p %m",
];

/// What the generator writes, and most programs.
pub(in crate::etl::parse) const TEXT: &str = "%d %p %m";
/// Where a line says no more.
pub(in crate::etl::parse) const TIME_AND_MESSAGE: &str = "%d %m";
/// Where it says nothing: the line as it is.
pub(in crate::etl::parse) const MESSAGE: &str = "%m";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etl::parse::layout::Layouts;

    #[test]
    fn every_known_layout_compiles() {
        for layout in LAYOUTS {
            Layouts::compile(layout).expect(layout);
        }
    }
}
