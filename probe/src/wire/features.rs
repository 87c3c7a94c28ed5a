//! `metadata.version`, the feature by which brokers agree on what they write down: what a broker says of it
//! (`ApiVersions` version 3), and the request that raises it (`UpdateFeatures` version 2). Pure.

use super::{CLIENT, Malformed, Reader, Refused, framed, header, is_ours, read_outcome, text};

const NAME: &[u8] = b"metadata.version";

const API_VERSIONS: (i16, i16) = (18, 3);
const UPDATE_FEATURES: (i16, i16) = (57, 2);

/// For the controllers.
const TIMEOUT_MS: i32 = 2_500;

/// Never to a lower one.
const UPGRADE_ONLY: u8 = 1;

/// The tagged fields of an answer.
const SUPPORTED: usize = 0;
const FINALISED: usize = 2;

/// What a broker says of `metadata.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The highest that it supports.
    pub supported: i16,
    /// The one that the cluster has.
    pub finalised: i16,
}

/// What a broker supports, and what the cluster has.
pub fn features() -> Vec<u8> {
    let mut body = header(API_VERSIONS);
    body.push(0); // no tagged fields
    text(&mut body, CLIENT);
    text(&mut body, env!("CARGO_PKG_VERSION").as_bytes());
    body.push(0);
    framed(&body)
}

/// The cluster gets this level.
pub fn raise(level: i16) -> Vec<u8> {
    let mut body = header(UPDATE_FEATURES);
    body.push(0);
    body.extend(TIMEOUT_MS.to_be_bytes());
    body.push(2); // one feature
    text(&mut body, NAME);
    body.extend(level.to_be_bytes());
    body.extend([UPGRADE_ONLY, 0]);
    body.extend([0, 0]); // in earnest
    framed(&body)
}

/// What a broker says of `metadata.version`.
pub fn read_features(answer: &[u8]) -> Result<Levels, Malformed> {
    let mut reader = Reader(answer);
    is_ours(&mut reader)?;
    if reader.i16()? != 0 {
        return Err(Malformed);
    }
    for _ in 0..reader.compact()? {
        reader.take(6)?; // a request, and its versions
        reader.tags()?;
    }
    reader.i32()?; // throttled for
    let (mut supported, mut finalised) = (None, None);
    for _ in 0..reader.varint()? {
        let tag = reader.varint()?;
        let length = reader.varint()?;
        let mut field = Reader(reader.take(length)?);
        match tag {
            SUPPORTED => supported = ours(&mut field)?,
            FINALISED => finalised = ours(&mut field)?,
            _ => {}
        }
    }
    let (_lowest, supported) = supported.ok_or(Malformed)?;
    let (finalised, _) = finalised.ok_or(Malformed)?;
    Ok(Levels {
        supported,
        finalised,
    })
}

/// The two numbers of `metadata.version` in a list of features.
fn ours(field: &mut Reader<'_>) -> Result<Option<(i16, i16)>, Malformed> {
    let mut found = None;
    for _ in 0..field.compact()? {
        let length = field.compact()?;
        let name = field.take(length)?;
        let numbers = (field.i16()?, field.i16()?);
        field.tags()?;
        if name == NAME {
            found = Some(numbers);
        }
    }
    Ok(found)
}

/// Whether it was raised.
pub fn read_raised(answer: &[u8]) -> Result<Result<(), Refused>, Malformed> {
    read_outcome(&mut Reader(answer))
}

#[cfg(test)]
mod tests {
    use super::super::CORRELATION;
    use super::*;

    fn list(features: &[(&str, i16, i16)]) -> Vec<u8> {
        let mut bytes = vec![features.len() as u8 + 1];
        for (name, one, other) in features {
            text(&mut bytes, name.as_bytes());
            bytes.extend(one.to_be_bytes());
            bytes.extend(other.to_be_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn answer() -> Vec<u8> {
        let supported = list(&[("group.version", 0, 1), ("metadata.version", 7, 30)]);
        let finalised = list(&[("metadata.version", 29, 29), ("group.version", 1, 1)]);
        let mut answer = CORRELATION.to_be_bytes().to_vec();
        answer.extend([0, 0]);
        answer.extend([2, 0, 18, 0, 0, 0, 4, 0]); // one request
        answer.extend(0_i32.to_be_bytes());
        answer.extend([3, 0, supported.len() as u8]);
        answer.extend(supported);
        answer.extend([1, 8, 0, 0, 0, 0, 0, 0, 0, 9, 2, finalised.len() as u8]);
        answer.extend(finalised);
        answer
    }

    #[test]
    fn a_broker_tells_what_it_supports_and_what_the_cluster_has() {
        let levels = Levels {
            supported: 30,
            finalised: 29,
        };
        assert_eq!(read_features(&answer()), Ok(levels));
    }

    #[test]
    fn an_answer_that_is_cut_short_lies_or_says_nothing_of_it_is_none() {
        let answer = answer();
        for end in 0..answer.len() {
            assert_eq!(read_features(&answer[..end]), Err(Malformed), "{end}");
        }
        let mut endless = answer[..6].to_vec();
        endless.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(read_features(&endless), Err(Malformed));
        let silent = [&answer[..18], &[0]].concat();
        assert_eq!(read_features(&silent), Err(Malformed));
    }

    #[test]
    fn the_request_asks_for_an_upgrade_and_nothing_else() {
        let request = raise(30);
        let length = request.len() as i32 - 4;
        assert_eq!(request[..4], length.to_be_bytes());
        let name = request.windows(NAME.len()).position(|part| part == NAME);
        let rest = &request[name.unwrap() + NAME.len()..];
        assert_eq!(rest, [0, 30, 1, 0, 0, 0]);
    }

    #[test]
    fn a_refusal_is_told_in_kafkas_words() {
        let mut answer = CORRELATION.to_be_bytes().to_vec();
        answer.extend([0, 0, 0, 0, 0]);
        let done = [&answer[..], &[0, 0, 0, 0]].concat();
        assert_eq!(read_raised(&done), Ok(Ok(())));
        let refused = [&answer[..], &[0, 95, 4], b"old", &[0]].concat();
        let error = read_raised(&refused).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "Kafka refuses it with code 95: old");
        assert_eq!(read_raised(&refused[..12]), Err(Malformed));
    }
}
