//! The bytes of some requests of Kafka's protocol, and of their answers: `ApiVersions` version 0, Metadata version
//! 7 and `DescribeQuorum` version 2; and what [`features`], [`members`] and [`reassign`] take. Pure.
//!
//! The library of the workers is C, and knows neither the controllers nor static linking here. Crates of the whole
//! protocol set memory aside for as many elements as an answer says that it has, and end the process when there is
//! not so much; the image of a broker is its user's choice, and must not be able to stop the operator.

use std::fmt;
use std::sync::Arc;

pub mod features;
pub mod members;
pub mod reassign;

/// The answer is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not one of Kafka's")]
pub struct Malformed;

/// Kafka was asked to do something, and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kafka refuses it with code {code}: {why}")]
pub struct Refused {
    /// Kafka's code.
    pub code: i16,
    /// In its words.
    pub why: String,
}

/// The controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Who leads; -1 when nobody does.
    pub leader: i32,
    /// Each of them that votes.
    pub voters: Vec<Voter>,
}

/// A controller that votes. One whose disk was lost is another one: the lost one stays until the leader has removed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its number.
    pub id: i32,
    /// Its disk.
    pub directory: [u8; 16],
    /// The end of its log.
    pub end: i64,
}

/// The brokers and the copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The brokers that take part.
    pub brokers: Vec<Broker>,
    /// Every partition of every topic.
    pub partitions: Vec<Partition>,
}

/// A broker that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// Where it is, if it says so.
    pub rack: Option<String>,
}

/// Where the copies of a partition are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The topic.
    pub topic: Arc<str>,
    /// Its number in the topic.
    pub index: i32,
    /// The broker that takes what is written; -1 when none does.
    pub leader: i32,
    /// The brokers that have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that have all of it.
    pub in_sync: Vec<i32>,
}

impl Metadata {
    /// Whether a broker takes part.
    pub fn is_alive(&self, id: i32) -> bool {
        self.brokers.iter().any(|broker| broker.id == id)
    }

    /// The first partition with a copy that is not in sync.
    pub fn behind(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| {
            partition.leader < 0 || partition.in_sync.len() < partition.replicas.len()
        })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.index, self.topic)
    }
}

/// The versions of one request that a broker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The request.
    pub key: i16,
    /// The first one.
    pub first: i16,
    /// The last one.
    pub last: i16,
}

/// Where a broker is asked.
pub const CLIENT_PORT: u16 = 9092;

/// The first brokers are controllers, too: three can lose one, and more make each write slower.
pub const CONTROLLERS: i32 = 3;

const METADATA: (i16, i16) = (3, 7);
const DESCRIBE_QUORUM: (i16, i16) = (55, 2);

/// Each request and its version, beside the question for the versions.
pub const SPOKEN: [(i16, i16); 2] = [METADATA, DESCRIBE_QUORUM];

/// More brokers than any cluster has; an answer that names more is none.
const MOST_BROKERS: usize = 1000;

/// The longest name that Kafka gives a topic.
const LONGEST_TOPIC: usize = 249;

/// What a condition has room for of Kafka's words.
const WORDS: usize = 600;

const CLIENT: &[u8] = b"logpipe-operator";
const CORRELATION: i32 = 1;

/// What a broker knows.
pub fn api_versions() -> Vec<u8> {
    framed(&header((18, 0)))
}

/// All topics.
pub fn metadata() -> Vec<u8> {
    metadata_of(-1)
}

/// No topic, so that only the brokers are told.
pub fn brokers() -> Vec<u8> {
    metadata_of(0)
}

fn metadata_of(topics: i32) -> Vec<u8> {
    let mut body = header(METADATA);
    body.extend(topics.to_be_bytes());
    body.push(0); // no topic is made
    framed(&body)
}

/// The one log of the controllers.
pub fn describe_quorum() -> Vec<u8> {
    let mut body = header(DESCRIBE_QUORUM);
    body.push(0); // no tagged fields
    count(&mut body, 1);
    text(&mut body, b"__cluster_metadata");
    count(&mut body, 1);
    body.extend(0_i32.to_be_bytes());
    body.extend([0, 0, 0]);
    framed(&body)
}

fn header((key, version): (i16, i16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(key.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(CORRELATION.to_be_bytes());
    bytes.extend((CLIENT.len() as i16).to_be_bytes());
    bytes.extend(CLIENT);
    bytes
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

/// A number as the newer requests write it.
fn varint(body: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        body.push(number as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

/// How many elements of a compact array follow.
fn count(body: &mut Vec<u8>, elements: usize) {
    varint(body, elements + 1);
}

/// A compact string.
fn text(body: &mut Vec<u8>, text: &[u8]) {
    count(body, text.len());
    body.extend(text);
}

/// Reads an answer from its front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A string that may be null.
    fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// How many elements follow.
    fn count(&mut self) -> Result<usize, Malformed> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    fn numbers(&mut self) -> Result<Vec<i32>, Malformed> {
        let count = self.count()?;
        (0..count).map(|_| self.i32()).collect()
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// How many elements of a compact array follow, or bytes of a compact string.
    fn compact(&mut self) -> Result<usize, Malformed> {
        Ok(self.varint()?.saturating_sub(1))
    }

    /// A compact string that may be null.
    fn compact_text(&mut self) -> Result<String, Malformed> {
        let length = self.compact()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// A topic's name, once for all of its partitions.
    fn compact_topic(&mut self) -> Result<Arc<str>, Malformed> {
        topic(self.compact_text()?)
    }

    fn tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Ok(())
    }
}

fn topic(name: String) -> Result<Arc<str>, Malformed> {
    if name.len() > LONGEST_TOPIC {
        return Err(Malformed);
    }
    Ok(name.into())
}

/// The versions that a broker knows.
pub fn read_api_versions(answer: &[u8]) -> Result<Vec<Versions>, Malformed> {
    let mut reader = Reader(answer);
    is_ours(&mut reader)?;
    if reader.i16()? != 0 {
        return Err(Malformed);
    }
    let mut versions = Vec::new();
    for _ in 0..reader.count()? {
        versions.push(Versions {
            key: reader.i16()?,
            first: reader.i16()?,
            last: reader.i16()?,
        });
    }
    Ok(versions)
}

/// Who takes part, and where the copies are.
pub fn read_metadata(answer: &[u8]) -> Result<Metadata, Malformed> {
    let mut reader = Reader(answer);
    is_ours(&mut reader)?;
    reader.i32()?; // throttled for
    let mut metadata = Metadata::default();
    let brokers = reader.count()?;
    if brokers > MOST_BROKERS {
        return Err(Malformed);
    }
    for _ in 0..brokers {
        let id = reader.i32()?;
        reader.text()?;
        reader.i32()?;
        let rack = Some(reader.text()?).filter(|rack| !rack.is_empty());
        metadata.brokers.push(Broker { id, rack });
    }
    reader.text()?;
    reader.i32()?;
    for _ in 0..reader.count()? {
        reader.i16()?;
        let topic = topic(reader.text()?)?;
        let [_internal] = reader.array()?;
        for _ in 0..reader.count()? {
            reader.i16()?;
            let (index, leader) = (reader.i32()?, reader.i32()?);
            reader.i32()?;
            let (replicas, in_sync) = (reader.numbers()?, reader.numbers()?);
            reader.numbers()?;
            metadata.partitions.push(Partition {
                topic: Arc::clone(&topic),
                index,
                leader,
                replicas,
                in_sync,
            });
        }
    }
    Ok(metadata)
}

/// Whether a request to do something was taken. The rest of the answer is left to be read.
fn read_outcome(reader: &mut Reader<'_>) -> Result<Result<(), Refused>, Malformed> {
    is_ours(reader)?;
    reader.tags()?;
    reader.i32()?; // throttled for
    read_code(reader)
}

fn read_code(reader: &mut Reader<'_>) -> Result<Result<(), Refused>, Malformed> {
    let code = reader.i16()?;
    let mut why = reader.compact_text()?;
    Ok(if code == 0 {
        Ok(())
    } else {
        why.truncate(why.floor_char_boundary(WORDS));
        Err(Refused { code, why })
    })
}

/// The leader of the controllers, and how far each is.
pub fn read_quorum(answer: &[u8]) -> Result<Quorum, Malformed> {
    let mut reader = Reader(answer);
    is_ours(&mut reader)?;
    reader.tags()?;
    // A code with its words; then the one topic with its one partition, which has a code, too.
    if read_code(&mut reader)?.is_err() || reader.compact()? != 1 {
        return Err(Malformed);
    }
    reader.compact_text()?;
    if reader.compact()? != 1 {
        return Err(Malformed);
    }
    reader.i32()?;
    if read_code(&mut reader)?.is_err() {
        return Err(Malformed);
    }
    let leader = reader.i32()?;
    reader.i32()?;
    reader.i64()?;
    let mut voters = Vec::new();
    for _ in 0..reader.compact()? {
        voters.push(Voter {
            id: reader.i32()?,
            directory: reader.array()?,
            end: reader.i64()?,
        });
        reader.take(16)?; // when it last fetched, and had all
        reader.tags()?;
    }
    Ok(Quorum { leader, voters })
}

fn is_ours(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.i32()? == CORRELATION {
        Ok(())
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as i16).to_be_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    }

    fn numbers(numbers: &[i32]) -> Vec<u8> {
        let mut bytes = (numbers.len() as i32).to_be_bytes().to_vec();
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes
    }

    pub(crate) fn metadata_answer(in_sync: &[i32]) -> Vec<u8> {
        metadata_answer_with(7, in_sync)
    }

    pub(crate) fn metadata_answer_of(broker: i32) -> Vec<u8> {
        metadata_answer_with(broker, &[7, 8])
    }

    fn metadata_answer_with(broker: i32, in_sync: &[i32]) -> Vec<u8> {
        [
            CORRELATION.to_be_bytes().to_vec(),
            0_i32.to_be_bytes().to_vec(),
            1_i32.to_be_bytes().to_vec(),
            broker.to_be_bytes().to_vec(),
            string("host"),
            9092_i32.to_be_bytes().to_vec(),
            (-1_i16).to_be_bytes().to_vec(),
            string("cluster"),
            7_i32.to_be_bytes().to_vec(),
            1_i32.to_be_bytes().to_vec(),
            vec![0, 0],
            string("shop"),
            vec![0],
            1_i32.to_be_bytes().to_vec(),
            vec![0, 0],
            4_i32.to_be_bytes().to_vec(),
            7_i32.to_be_bytes().to_vec(),
            0_i32.to_be_bytes().to_vec(),
            numbers(&[7, 8]),
            numbers(in_sync),
            numbers(&[]),
        ]
        .concat()
    }

    pub(crate) fn refused(code: u8, why: &str) -> Vec<u8> {
        let mut answer = [&CORRELATION.to_be_bytes()[..], &[0; 5], &[0, code]].concat();
        super::text(&mut answer, why.as_bytes());
        answer
    }

    pub(crate) fn versions_answer(versions: &[(i16, i16, i16)]) -> Vec<u8> {
        let mut answer = CORRELATION.to_be_bytes().to_vec();
        answer.extend([0, 0]);
        answer.extend((versions.len() as i32).to_be_bytes());
        for (key, first, last) in versions {
            answer.extend(
                [key, first, last]
                    .map(|number| number.to_be_bytes())
                    .concat(),
            );
        }
        answer
    }

    pub(crate) fn quorum_answer(leader: i32) -> Vec<u8> {
        let voter = |id: i32, end: i64| {
            [
                &id.to_be_bytes()[..],
                &[id as u8; 16],
                &end.to_be_bytes(),
                &[0; 16],
                &[0],
            ]
            .concat()
        };
        [
            &CORRELATION.to_be_bytes()[..],
            &[0, 0, 0, 1, 2, 3],
            b"xy",
            &[2],
            &0_i32.to_be_bytes(),
            &[0, 0, 0],
            &leader.to_be_bytes(),
            &5_i32.to_be_bytes(),
            &90_i64.to_be_bytes(),
            &[3],
            &voter(0, 91),
            &voter(1, 92),
            &[1, 0, 0, 1, 0],
        ]
        .concat()
    }

    #[test]
    fn an_answer_that_says_it_is_huge_takes_no_memory_for_it() {
        let mut answer = metadata_answer(&[7])[..8].to_vec();
        answer.extend(i32::MAX.to_be_bytes());
        assert_eq!(read_metadata(&answer), Err(Malformed));
    }

    #[test]
    fn more_than_kafka_has_is_none() {
        let brokers = |count: usize| {
            let mut answer = metadata_answer(&[7])[..8].to_vec();
            answer.extend((count as i32).to_be_bytes());
            for id in 0..count as i32 {
                answer.extend([&id.to_be_bytes()[..], &[0; 2], &[0; 4], &[0xff; 2]].concat());
            }
            [answer, vec![0; 10]].concat()
        };
        let most = read_metadata(&brokers(MOST_BROKERS)).unwrap();
        assert_eq!(most.brokers.len(), MOST_BROKERS);
        assert_eq!(read_metadata(&brokers(MOST_BROKERS + 1)), Err(Malformed));
        assert!(topic("t".repeat(249)).is_ok());
        assert_eq!(topic("t".repeat(250)), Err(Malformed));
    }

    #[test]
    fn kafkas_words_have_an_end() {
        let mut answer = vec![0, 9];
        super::text(&mut answer, "é".repeat(301).as_bytes());
        let refused = read_code(&mut Reader(&answer)).unwrap().unwrap_err();
        assert_eq!(refused.why, "é".repeat(300));
    }

    #[test]
    fn a_copy_that_is_not_in_sync_is_named() {
        let good = read_metadata(&metadata_answer(&[8, 7])).unwrap();
        let broker = Broker { id: 7, rack: None };
        assert_eq!((&good.brokers, good.behind()), (&vec![broker], None));
        let behind = read_metadata(&metadata_answer(&[7])).unwrap();
        let behind = behind.behind().unwrap().to_string();
        assert_eq!(behind, "partition 4 of topic shop");
    }

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let answer = metadata_answer(&[7]);
        for end in 0..answer.len() {
            assert_eq!(read_metadata(&answer[..end]), Err(Malformed), "{end}");
        }
    }

    #[test]
    fn the_controllers_are_read() {
        let answer = quorum_answer(1);
        let quorum = read_quorum(&answer).unwrap();
        let voter = |id, end| Voter {
            id,
            directory: [id as u8; 16],
            end,
        };
        let voters = vec![voter(0, 91), voter(1, 92)];
        assert_eq!((quorum.leader, quorum.voters), (1, voters));
        assert_eq!(read_quorum(&answer[..20]), Err(Malformed));
    }
}
