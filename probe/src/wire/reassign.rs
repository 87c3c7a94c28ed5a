//! The requests that move copies of partitions to other brokers (`AlterPartitionReassignments` version 0), and that tell
//! which are on their way (`ListPartitionReassignments` version 0). Pure.

use std::sync::Arc;

use super::{Malformed, Reader, Refused, count, framed, header, read_code, read_outcome, text};

const ALTER: (i16, i16) = (45, 0);
const LIST: (i16, i16) = (46, 0);

/// For the controllers.
const TIMEOUT_MS: i32 = 2_500;

/// A topic, and the number of a partition.
pub type OfTopic = (Arc<str>, i32);

/// Where the copies of a partition shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub index: i32,
    /// The brokers that shall have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
}

/// Which partitions are on their way.
pub fn moving() -> Vec<u8> {
    let mut body = header(LIST);
    body.push(0); // no tagged fields
    body.extend(TIMEOUT_MS.to_be_bytes());
    body.extend([0, 0]); // of every topic
    framed(&body)
}

/// These copies are to be moved. One that is on its way already goes to the new place instead.
pub fn reassign(moves: &[Move]) -> Vec<u8> {
    let mut body = header(ALTER);
    body.push(0);
    body.extend(TIMEOUT_MS.to_be_bytes());
    count(&mut body, moves.len());
    for one in moves {
        text(&mut body, one.topic.as_bytes());
        count(&mut body, 1);
        body.extend(one.index.to_be_bytes());
        count(&mut body, one.replicas.len());
        for replica in &one.replicas {
            body.extend(replica.to_be_bytes());
        }
        body.extend([0, 0]); // no tagged fields of the partition, and of the topic
    }
    body.push(0);
    framed(&body)
}

/// The topic and the number of each partition that is on its way.
pub fn read_moving(answer: &[u8]) -> Result<Result<Vec<OfTopic>, Refused>, Malformed> {
    let mut reader = Reader(answer);
    if let Err(refused) = read_outcome(&mut reader)? {
        return Ok(Err(refused));
    }
    let mut moving = Vec::new();
    for _ in 0..reader.compact()? {
        let topic = reader.compact_topic()?;
        for _ in 0..reader.compact()? {
            moving.push((Arc::clone(&topic), reader.i32()?));
            for _ in ["replicas", "to come", "to go"] {
                for _ in 0..reader.compact()? {
                    reader.i32()?;
                }
            }
            reader.tags()?;
        }
        reader.tags()?;
    }
    Ok(Ok(moving))
}

/// Whether all of it is on its way; else the first refusal.
pub fn read_reassigned(answer: &[u8]) -> Result<Result<(), Refused>, Malformed> {
    let mut reader = Reader(answer);
    let mut outcome = read_outcome(&mut reader)?;
    for _ in 0..reader.compact()? {
        let topic = reader.compact_topic()?;
        for _ in 0..reader.compact()? {
            let index = reader.i32()?;
            let refused = read_code(&mut reader)?;
            reader.tags()?;
            if let (Ok(()), Err(refused)) = (&outcome, refused) {
                outcome = Err(Refused {
                    why: format!("partition {index} of topic {topic}: {}", refused.why),
                    ..refused
                });
            }
        }
        reader.tags()?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::super::CORRELATION;
    use super::super::tests::refused;
    use super::*;

    fn begin() -> Vec<u8> {
        // No tagged fields, not throttled, no error.
        [&CORRELATION.to_be_bytes()[..], &[0; 8]].concat()
    }

    fn moving_answer() -> Vec<u8> {
        [
            &begin()[..],
            &[2, 5],
            b"shop",
            &[2],
            &7_i32.to_be_bytes(),
            &[3],
            &1_i32.to_be_bytes(),
            &2_i32.to_be_bytes(),
            &[2],
            &2_i32.to_be_bytes(),
            &[1],
            &[0, 0, 0],
        ]
        .concat()
    }

    #[test]
    fn what_is_on_its_way_is_read() {
        let answer = moving_answer();
        let moving = vec![("shop".into(), 7)];
        assert_eq!(read_moving(&answer), Ok(Ok(moving)));
        // The last byte is for fields that are not of interest.
        for end in 0..answer.len() - 1 {
            assert_eq!(read_moving(&answer[..end]), Err(Malformed), "{end}");
        }
        let mut endless = begin();
        endless.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(read_moving(&endless), Err(Malformed));
    }

    #[test]
    fn a_partition_that_cannot_be_moved_is_named() {
        let partition = |code: u8, why: &[u8]| {
            let mut bytes = vec![0, 0, 0, 3, 0, code];
            text(&mut bytes, why);
            bytes.push(0);
            bytes
        };
        let answer = |partition: Vec<u8>| {
            [&begin()[..], &[2, 5], b"shop", &[2], &partition, &[0, 0]].concat()
        };
        assert_eq!(read_reassigned(&answer(partition(0, b""))), Ok(Ok(())));
        let error = read_reassigned(&answer(partition(39, b"broker 9")));
        assert_eq!(
            error.unwrap().unwrap_err().to_string(),
            "Kafka refuses it with code 39: partition 3 of topic shop: broker 9"
        );
        let all = [refused(41, "no controller"), vec![1, 0]].concat();
        assert_eq!(read_reassigned(&all).unwrap().unwrap_err().code, 41);
    }

    #[test]
    fn every_topic_is_asked_for() {
        let request = moving();
        let end = [&[0][..], &TIMEOUT_MS.to_be_bytes(), &[0, 0]].concat();
        assert!(request.ends_with(&end), "{request:?}");
    }

    #[test]
    fn long_names_and_many_partitions_have_their_length() {
        let one = Move {
            topic: "t".repeat(200).into(),
            index: 1,
            replicas: vec![0, 2],
        };
        let request = reassign(&vec![one; 130]);
        let length = request.len() as i32 - 4;
        assert_eq!(request[..4], length.to_be_bytes());
        // 131 and 201, seven bits at a time.
        let head = [0, 0, 0, 9, 0xc4, 0x83, 1, 0xc9, 1, b't'];
        assert!(request.windows(10).any(|part| part == head));
        let partition = [b't', 2, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0];
        assert!(request.windows(17).any(|part| part == partition));
    }
}
