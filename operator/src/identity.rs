//! The identity of a Kafka. Touches the system's source of randomness.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A new cluster id: 16 random bytes as Kafka writes them. None begins with `-`, which tools take for an option.
pub(crate) fn draw() -> String {
    loop {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has random numbers");
        let id = URL_SAFE_NO_PAD.encode(bytes);
        if !id.starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_kafka_takes() {
        for _ in 0..1000 {
            let id = draw();
            assert_eq!(id.len(), 22);
            assert!(!id.starts_with('-'));
        }
        assert_ne!(draw(), draw());
    }
}
