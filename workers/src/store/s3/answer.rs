//! What a server answered instead of doing what it was asked for: status, and the code and message of S3's XML.
//! Pure, but for reading the body.

use std::fmt;

use futures::StreamExt;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use object_store::client::{HttpRequest, HttpResponse};

/// Of an answer's body, so much is read.
const BODY_BYTES: usize = 16 * 1024;
/// Of an answer that is not S3's, so much is told.
const TOLD_CHARS: usize = 100;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Head,
    Object,
    List,
    Put,
    Other,
    /// By the client, to sign what comes later.
    Credentials,
}

impl Asked {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        match request.method().as_str() {
            "HEAD" => Self::Head,
            "GET" if query.contains("list-type=") => Self::List,
            "GET" => Self::Object,
            "PUT" => Self::Put,
            _ => Self::Other,
        }
    }

    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::Head | Self::Object | Self::List)
    }

    /// Whether the answer is what an S3 server says when all is well, or that there is no such object, or that
    /// there is one already.
    pub(super) fn passes(self, response: &HttpResponse) -> bool {
        let header = |name: &str| response.headers().get(name);
        match response.status().as_u16() {
            200..=299 => match self {
                Self::Head | Self::Object | Self::Put => header("etag").is_some(),
                Self::List => header("content-type")
                    .and_then(|value| value.to_str().ok())
                    .is_some_and(|kind| kind.contains("xml")),
                Self::Other | Self::Credentials => true,
            },
            304 | 412 => true,
            404 => self == Self::Head,
            _ => false,
        }
    }
}

/// What a server answered instead of doing what it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// S3's code, such as `SlowDown`; empty where there is none.
    pub(crate) code: String,
    /// S3's message, or the beginning of whatever came.
    pub(crate) message: String,
    /// The bucket's region, where the server told it.
    pub(crate) region: Option<String>,
    /// By so many seconds this machine's clock is ahead of the server's.
    pub(crate) ahead: Option<i64>,
    /// Something in it is S3's.
    pub(crate) is_s3: bool,
}

impl std::error::Error for Answer {}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

/// Reads an answer, as far as it comes.
pub(super) async fn read(asked: Asked, response: HttpResponse) -> Answer {
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (status, region) = (response.status().as_u16(), header("x-amz-bucket-region"));
    let has_id = header("x-amz-request-id").is_some();
    // A HEAD has no body; MinIO says it all the same.
    let code = header("x-minio-error-code");
    let ahead = header("date").and_then(|date| ahead(&date, Timestamp::now()));
    let location = header("location");
    let body = match asked {
        Asked::Head => Vec::new(),
        _ => beginning(response).await,
    };
    let mut answer = parse(status, &String::from_utf8_lossy(&body));
    answer.region = region.or(answer.region);
    answer.ahead = ahead;
    if let (Some(code), true) = (code, answer.code.is_empty()) {
        answer.code = code;
    }
    answer.is_s3 |= has_id;
    if let (Some(location), true) = (location, answer.code.is_empty()) {
        answer.message = format!("redirected to {location}");
    }
    answer
}

async fn beginning(response: HttpResponse) -> Vec<u8> {
    let mut body = Vec::new();
    let mut stream = response.into_body().bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        body.extend_from_slice(&bytes);
        if body.len() >= BODY_BYTES {
            break;
        }
    }
    body.truncate(BODY_BYTES);
    body
}

fn parse(status: u16, body: &str) -> Answer {
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        Some(unescape(text))
    };
    let code = element("Code").filter(|_| body.contains("<Error>"));
    match code {
        Some(code) => Answer {
            status,
            code,
            message: element("Message").unwrap_or_default(),
            region: element("Region"),
            is_s3: true,
            ..Answer::default()
        },
        None => Answer {
            status,
            message: one_line(body),
            ..Answer::default()
        },
    }
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let text = text
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&apos;", "'");
    text.replace("&amp;", "&")
}

/// The beginning of a text that may be anything, as one line without what a terminal would act on.
fn one_line(body: &str) -> String {
    let words = body.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(TOLD_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// By how many seconds `now` is ahead of an HTTP date.
fn ahead(date: &str, now: Timestamp) -> Option<i64> {
    let server = rfc2822::parse(date).ok()?.timestamp();
    Some(now.as_second() - server.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_message_of_s3_are_read() {
        let body = "<?xml version=\"1.0\"?>\n<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region \
                    &#39;us-east-1&#39; is wrong; expecting &quot;eu-west-1&quot;.</Message><Region>eu-west-1</Region></Error>";
        let answer = parse(400, body);
        assert_eq!(answer.code, "AuthorizationHeaderMalformed");
        assert_eq!(answer.region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            answer.to_string(),
            "400 AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting \"eu-west-1\""
        );
        assert!(answer.is_s3);
    }

    #[test]
    fn any_other_body_is_told_in_one_short_line_without_control_characters() {
        let answer = parse(405, "<html>\r\n<title>405\u{1b}[31m Not Allowed</title>");
        assert_eq!(
            answer.to_string(),
            "405: <html> <title>405 [31m Not Allowed</title>"
        );
        assert!(!answer.is_s3);
        let long = parse(400, &"ä".repeat(1000)).message;
        assert_eq!(long.chars().count(), TOLD_CHARS + 1);
        // A page about S3 is not S3.
        assert_eq!(parse(404, "<p><Code>NoSuchBucket</Code></p>").code, "");
        assert_eq!(parse(403, "").to_string(), "403");
    }

    #[test]
    fn the_servers_date_tells_how_far_the_clocks_differ() {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(ahead("Sat, 31 Jan 2026 11:00:00 GMT", now), Some(3600));
        assert_eq!(ahead("Sat, 31 Jan 2026 12:00:09 GMT", now), Some(-9));
        assert_eq!(ahead("yesterday", now), None);
    }
}
