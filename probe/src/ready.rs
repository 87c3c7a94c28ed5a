//! Whether a broker is ready: it answers, takes part in the cluster, and the controllers have a leader that it
//! reaches. One that is a controller, too, must have its vote: after its disk was lost it gets one when it has caught up,
//! and until then no other one may be lost. Touches only the stream that it is given.
//!
//! Its own view is not enough: a broker that is cut off keeps the last view it had, in which it is alive. The
//! question for the leader is passed on to the leader, so that only a broker that reaches it can answer.

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::wire::{self, Malformed, Voter};

/// Larger answers than a cluster of a few brokers gives are not read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why a broker is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nothing comes.
    #[error("broker {id} takes too long to tell {what}")]
    Slow {
        /// Who.
        id: i32,
        /// What was asked for.
        what: &'static str,
    },
    /// The connection broke.
    #[error("broker {id} does not tell {what}")]
    Silent {
        /// Who.
        id: i32,
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// An answer that cannot be read.
    #[error("broker {id} tells {what} in a way that is not Kafka's")]
    Malformed {
        /// Who.
        id: i32,
        /// What was asked for.
        what: &'static str,
    },
    /// Another Kafka than the one this was made for.
    #[error("broker {id} does not speak version {version} of request {key}: use a Kafka of 4.x")]
    Versions {
        /// Who.
        id: i32,
        /// The request.
        key: i16,
        /// Its version.
        version: i16,
    },
    /// It is fenced, or has not joined yet.
    #[error("broker {id} does not take part in the cluster: the brokers that do are {alive:?}")]
    NotAlive {
        /// Who.
        id: i32,
        /// Who does.
        alive: Vec<i32>,
    },
    /// It is a controller without a vote.
    #[error(
        "broker {id} has no vote yet: the controllers that have one are {voters:?}. With an empty disk it gets one \
         when it has caught up; no other broker may be lost before"
    )]
    NoVote {
        /// Who.
        id: i32,
        /// Who has one.
        voters: Vec<i32>,
    },
    /// Nobody decides.
    #[error("broker {id} says that the controllers have no leader")]
    NoLeader {
        /// Who says so.
        id: i32,
    },
}

/// Asks broker `id` over `stream`. One with a `directory` is a controller, too: that is its disk.
pub fn check(
    stream: &mut (impl Read + Write),
    id: i32,
    directory: Option<[u8; 16]>,
) -> Result<(), NotReady> {
    let malformed = |what| move |_: Malformed| NotReady::Malformed { id, what };
    let versions = request(stream, id, "its versions", &wire::api_versions())?;
    let versions = wire::read_api_versions(&versions).map_err(malformed("its versions"))?;
    for (key, version) in wire::SPOKEN {
        let known = |known: &wire::Versions| {
            known.key == key && (known.first..=known.last).contains(&version)
        };
        if !versions.iter().any(known) {
            return Err(NotReady::Versions { id, key, version });
        }
    }
    let metadata = request(stream, id, "the brokers", &wire::brokers())?;
    let metadata = wire::read_metadata(&metadata).map_err(malformed("the brokers"))?;
    if !metadata.is_alive(id) {
        let alive = metadata.brokers.iter().map(|broker| broker.id).collect();
        return Err(NotReady::NotAlive { id, alive });
    }
    let quorum = request(stream, id, "the controllers", &wire::describe_quorum())?;
    let voters = match wire::read_quorum(&quorum) {
        Ok(quorum) if quorum.leader >= 0 => quorum.voters,
        // A controller that does not lead answers with an error.
        Ok(_) | Err(Malformed) => return Err(NotReady::NoLeader { id }),
    };
    let votes = |directory| {
        let is_it = |voter: &Voter| voter.id == id && voter.directory == directory;
        voters.iter().any(is_it)
    };
    if directory.is_none_or(votes) {
        return Ok(());
    }
    let voters = voters.iter().map(|voter| voter.id).collect();
    Err(NotReady::NoVote { id, voters })
}

/// The disk's own id, from Kafka's `meta.properties`.
pub fn directory(properties: &str) -> Option<[u8; 16]> {
    let mut lines = properties.lines();
    let id = lines.find_map(|line| line.trim().strip_prefix("directory.id="))?;
    URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()
}

fn request(
    stream: &mut (impl Read + Write),
    id: i32,
    what: &'static str,
    bytes: &[u8],
) -> Result<Vec<u8>, NotReady> {
    let silent = |source: io::Error| match source.kind() {
        // A timeout of a socket is the one or the other.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NotReady::Slow { id, what },
        _ => NotReady::Silent { id, what, source },
    };
    stream.write_all(bytes).map_err(silent)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(silent)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok();
    let length = length.filter(|length| *length <= MAX_ANSWER);
    let mut answer = vec![0; length.ok_or(NotReady::Malformed { id, what })?];
    stream.read_exact(&mut answer).map_err(silent)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker of as many words as it was given; what is asked is not looked at.
    struct Broker(io::Cursor<Vec<u8>>);

    impl Read for Broker {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Broker {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn broker(answers: &[Vec<u8>]) -> Broker {
        let framed = answers
            .iter()
            .flat_map(|answer| [&(answer.len() as i32).to_be_bytes(), &answer[..]].concat());
        Broker(io::Cursor::new(framed.collect()))
    }

    fn answers() -> [Vec<u8>; 3] {
        [
            wire::tests::versions_answer(&[(3, 0, 13), (55, 0, 2)]),
            wire::tests::metadata_answer(&[7, 8]),
            wire::tests::quorum_answer(1),
        ]
    }

    #[test]
    fn a_broker_that_takes_part_and_knows_a_leader_is_ready() {
        check(&mut broker(&answers()), 7, None).unwrap();
    }

    #[test]
    fn one_that_is_fenced_has_no_leader_or_falls_silent_is_not() {
        let text = |answers: &[Vec<u8>], id| {
            check(&mut broker(answers), id, None)
                .unwrap_err()
                .to_string()
        };
        let [versions, brokers, _] = answers();
        assert!(text(&answers(), 8).contains("does not take part"));
        let leaderless = [
            versions.clone(),
            brokers.clone(),
            wire::tests::quorum_answer(-1),
        ];
        assert!(text(&leaderless, 7).contains("no leader"));
        let silent = check(&mut broker(&[versions, brokers]), 7, None).unwrap_err();
        assert_eq!(
            crate::chain(&silent),
            "broker 7 does not tell the controllers: failed to fill whole buffer"
        );
        assert!(text(&[], 7).contains("its versions"));
    }

    #[test]
    fn a_controller_is_ready_with_the_vote_of_its_own_disk() {
        let answers = |id: i32| {
            let [versions, _, quorum] = answers();
            [versions, wire::tests::metadata_answer_of(id), quorum]
        };
        check(&mut broker(&answers(1)), 1, Some([1; 16])).unwrap();
        let lost = check(&mut broker(&answers(1)), 1, Some([9; 16]));
        let text = lost.unwrap_err().to_string();
        assert!(
            text.contains("no vote yet") && text.contains("[0, 1]"),
            "{text}"
        );
        assert!(check(&mut broker(&answers(2)), 2, Some([2; 16])).is_err());
    }

    #[test]
    fn the_id_of_a_disk_is_read() {
        let properties =
            "#\n#Mon Nov 30\nnode.id=1\ndirectory.id=YZFqADzWib-ABctvH3XjxQ\nversion=1\n";
        let id = u128::from_be_bytes(directory(properties).unwrap());
        assert_eq!(id, 0x6191_6a00_3cd6_89bf_8005_cb6f_1f75_e3c5);
        for bad in [
            "",
            "directory.id=",
            "directory.id=YZFqADzWib",
            "directory.id=YZFq+DzWib-ABctvH3XjxQ",
        ] {
            assert_eq!(directory(bad), None, "{bad}");
        }
    }

    #[test]
    fn another_kafka_is_named() {
        let old = wire::tests::versions_answer(&[(3, 8, 13), (55, 0, 2)]);
        let error = check(&mut broker(&[old]), 7, None).unwrap_err().to_string();
        assert!(error.contains("version 7 of request 3"), "{error}");
    }

    #[test]
    fn an_endless_answer_is_not_waited_for() {
        let mut endless = Broker(io::Cursor::new(i32::MAX.to_be_bytes().to_vec()));
        let error = check(&mut endless, 7, None).unwrap_err();
        assert!(matches!(error, NotReady::Malformed { .. }), "{error}");
    }
}
