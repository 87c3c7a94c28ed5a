//! The brokers that the cluster knows, whether they take part or not (`DescribeCluster` version 2), and the request that
//! makes it forget one (`UnregisterBroker` version 0). Pure.

use super::{MOST_BROKERS, Malformed, Reader, Refused, framed, header, read_outcome};

const DESCRIBE_CLUSTER: (i16, i16) = (60, 2);
const UNREGISTER_BROKER: (i16, i16) = (64, 0);

/// Brokers, not controllers.
const BROKERS: u8 = 1;

/// A broker that the cluster knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: i32,
    /// It does not take part: it is gone, or has not caught up yet.
    pub fenced: bool,
}

/// Who is known.
pub fn members() -> Vec<u8> {
    let mut body = header(DESCRIBE_CLUSTER);
    // No tagged fields; no permissions; the brokers; those that are fenced, too; no tagged fields.
    body.extend([0, 0, BROKERS, 1, 0]);
    framed(&body)
}

/// The cluster forgets a broker.
pub fn unregister(id: i32) -> Vec<u8> {
    let mut body = header(UNREGISTER_BROKER);
    body.push(0);
    body.extend(id.to_be_bytes());
    body.push(0);
    framed(&body)
}

/// Who is known.
pub fn read_members(answer: &[u8]) -> Result<Result<Vec<Member>, Refused>, Malformed> {
    let mut reader = Reader(answer);
    if let Err(refused) = read_outcome(&mut reader)? {
        return Ok(Err(refused));
    }
    reader.take(1)?;
    reader.compact_text()?;
    reader.i32()?;
    let mut members = Vec::new();
    let count = reader.compact()?;
    if count > MOST_BROKERS {
        return Err(Malformed);
    }
    for _ in 0..count {
        let id = reader.i32()?;
        reader.compact_text()?;
        reader.i32()?;
        reader.compact_text()?;
        let [fenced] = reader.array()?;
        reader.tags()?;
        members.push(Member {
            id,
            fenced: fenced != 0,
        });
    }
    Ok(Ok(members))
}

/// Whether it was forgotten.
pub fn read_unregistered(answer: &[u8]) -> Result<Result<(), Refused>, Malformed> {
    read_outcome(&mut Reader(answer))
}

#[cfg(test)]
mod tests {
    use super::super::CORRELATION;
    use super::super::tests::refused;
    use super::*;

    fn answer() -> Vec<u8> {
        let broker = |id: i32, fenced: u8| {
            [
                &id.to_be_bytes()[..],
                &[2, b'h'],
                &9092_i32.to_be_bytes(),
                &[0, fenced, 0],
            ]
            .concat()
        };
        [
            &CORRELATION.to_be_bytes()[..],
            &[0, 0, 0, 0, 0, 0, 0, 0, BROKERS, 3, b'i', b'd'],
            &0_i32.to_be_bytes(),
            &[3],
            &broker(2, 0),
            &broker(4, 1),
            &[0x80, 0, 0, 0, 0],
        ]
        .concat()
    }

    #[test]
    fn the_brokers_that_take_part_and_those_that_do_not_are_read() {
        let member = |id, fenced| Member { id, fenced };
        let members = vec![member(2, false), member(4, true)];
        assert_eq!(read_members(&answer()), Ok(Ok(members)));
    }

    #[test]
    fn an_answer_that_is_cut_short_or_lies_is_none() {
        let answer = answer();
        // What is behind the brokers is not of interest.
        for end in 0..answer.len() - 5 {
            assert_eq!(read_members(&answer[..end]), Err(Malformed), "{end}");
        }
        let mut endless = answer[..20].to_vec();
        endless.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(read_members(&endless), Err(Malformed));
        // 1001 of them, all there.
        let mut many = answer[..20].to_vec();
        many.extend([0xea, 0x07]);
        many.extend([0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0].repeat(1001));
        assert_eq!(read_members(&many), Err(Malformed));
    }

    #[test]
    fn a_refusal_is_told() {
        let answer = refused(41, "no controller");
        assert_eq!(read_members(&answer).unwrap().unwrap_err().code, 41);
        let why = read_unregistered(&answer).unwrap().unwrap_err().to_string();
        assert_eq!(why, "Kafka refuses it with code 41: no controller");
    }

    #[test]
    fn one_broker_is_named() {
        let fenced_too = members();
        assert_eq!(fenced_too[fenced_too.len() - 5..], [0, 0, 1, 1, 0]);
        let request = unregister(4);
        assert_eq!(request[request.len() - 6..], [0, 0, 0, 0, 4, 0]);
    }
}
