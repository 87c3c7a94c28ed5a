//! What an error of S3 means: it passes by itself, or a person must mend it, and how. Pure.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

use super::s3::{Answer, CredentialsError};

/// What an error of S3 means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes by itself.
    Transient(String),
    /// A person must mend it.
    Refused(Refusal),
}

/// Why S3 will not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key may not do this.
    Denied(String),
    /// The server does not know the access key.
    UnknownKey(String),
    /// The secret is not that of the access key.
    WrongSecret(String),
    /// The session token is too old.
    ExpiredToken(String),
    /// There is nothing to sign requests with.
    Credentials(String),
    /// The clocks differ; by so many seconds this machine's is ahead, where the server told its own.
    ClockSkew(Option<i64>),
    /// The bucket is not there.
    NoBucket(String),
    /// The bucket is in another region, where the server told which.
    WrongRegion(Option<String>),
    /// Something else than an S3 server answers.
    NotS3(String),
    /// TLS cannot be spoken, or the certificate is not trusted.
    Tls(String),
    /// The disk or the quota is full.
    NoSpace(String),
    /// The object is too large for the server.
    TooLarge(String),
    /// The server cannot encrypt as it is asked to.
    Encryption(String),
    /// Anything else that trying again does not change.
    Other(String),
}

impl Refusal {
    /// Whether new credentials may come without a restart.
    pub(super) fn may_heal(&self) -> bool {
        matches!(self, Self::ExpiredToken(_) | Self::Credentials(_))
    }
}

/// A bucket as messages call it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) endpoint: String,
    pub(super) region: String,
    /// Where the access key comes from: `the key in /etc/secrets/s3`.
    pub(super) key: String,
}

/// A bucket will not do what it is asked to; a person must mend it.
#[derive(Debug, thiserror::Error)]
#[error("bucket {bucket} at {endpoint}: {what}: {remedy}")]
pub struct Refused {
    bucket: String,
    endpoint: String,
    what: String,
    remedy: String,
}

impl Place {
    fn says(&self, what: String, remedy: String) -> Refused {
        Refused {
            bucket: self.bucket.clone(),
            endpoint: self.endpoint.clone(),
            what,
            remedy,
        }
    }

    /// The server does not answer, or not usefully.
    pub(super) fn unreachable(&self, reason: String) -> Refused {
        let remedy = "check that the server runs and that its address is spec.sink.s3.endpoint";
        self.says(reason, remedy.to_owned())
    }

    /// A refusal in words.
    pub(super) fn refused(&self, operation: &str, refusal: Refusal) -> Refused {
        let (key, region) = (&self.key, &self.region);
        let (what, remedy) = match refusal {
            Refusal::Denied(answer) => (
                format!("access denied for {operation} ({answer})"),
                format!("grant s3:PutObject, s3:GetObject and s3:ListBucket to {key}"),
            ),
            Refusal::UnknownKey(answer) => (
                format!("the server does not know {key} ({answer})"),
                "check AWS_ACCESS_KEY_ID there, and that this is the server it was made for".to_owned(),
            ),
            Refusal::WrongSecret(answer) => (
                format!("the server does not accept the signature of {key} ({answer})"),
                "copy AWS_SECRET_ACCESS_KEY there once more, and check the region".to_owned(),
            ),
            Refusal::ExpiredToken(answer) => (
                format!("the session token of {key} is not valid any more ({answer})"),
                "write a new one there; it is read again without a restart where it stands in files".to_owned(),
            ),
            Refusal::Credentials(why) => (
                format!("there is no access key: {why}"),
                "name a Secret in spec.sink.s3.credentials, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
            ),
            Refusal::ClockSkew(ahead) => (
                clocks(ahead),
                "set this machine's clock by a time server (chrony, ntpd)".to_owned(),
            ),
            Refusal::NoBucket(answer) => (
                format!("there is no such bucket ({answer})"),
                "make it, or name another one in spec.sink.s3.bucket".to_owned(),
            ),
            Refusal::WrongRegion(Some(found)) => (
                format!("the bucket is in region {found}, and {region} was asked for"),
                format!("write spec.sink.s3.region: {found} (AWS_REGION for s3://…)"),
            ),
            Refusal::WrongRegion(None) => (
                format!("the bucket is not in region {region}"),
                "write its region into spec.sink.s3.region (AWS_REGION for s3://…)".to_owned(),
            ),
            Refusal::NotS3(answer) => (
                format!("what answers is no S3 server ({answer})"),
                "check the port and the address in spec.sink.s3.endpoint".to_owned(),
            ),
            Refusal::Tls(why) => tls(&why),
            Refusal::NoSpace(answer) => (
                format!("no space left for {operation} ({answer})"),
                "make room or raise the quota, and start again".to_owned(),
            ),
            Refusal::TooLarge(answer) => (
                format!("the server takes no object of this size ({answer})"),
                "lower spec.sink.rotation.maxBytes".to_owned(),
            ),
            Refusal::Encryption(answer) => (
                format!("the server cannot encrypt as asked for ({answer})"),
                format!("check spec.sink.s3.sse, the key there and the right of {key} to use it"),
            ),
            Refusal::Other(answer) => (
                format!("{operation} failed ({answer})"),
                "check spec.sink.s3 and the server's own log".to_owned(),
            ),
        };
        self.says(what, remedy)
    }
}

fn clocks(ahead: Option<i64>) -> String {
    match ahead {
        Some(ahead) if ahead >= 0 => {
            format!("this machine's clock is {ahead} s ahead of the server's")
        }
        Some(ahead) => format!("this machine's clock is {} s behind the server's", -ahead),
        None => "this machine's clock and the server's differ too much".to_owned(),
    }
}

fn tls(why: &str) -> (String, String) {
    if why.contains("InvalidContentType") || why.contains("corrupt message") {
        return (
            format!("the server speaks no TLS ({why})"),
            "write http:// in spec.sink.s3.endpoint, or the port with TLS".to_owned(),
        );
    }
    (
        format!("the server's certificate is not accepted ({why})"),
        "name the CA it was issued by in spec.sink.s3.tls.caSecretRef, and a host name that stands in it"
            .to_owned(),
    )
}

/// What an error of S3 means.
pub(super) fn verdict(error: &object_store::Error) -> Verdict {
    let mut transport = None;
    let mut last = String::new();
    for cause in causes(error) {
        if let Some(answer) = cause.downcast_ref::<Answer>() {
            return answered(answer);
        }
        if let Some(error) = cause.downcast_ref::<CredentialsError>() {
            return Verdict::Refused(Refusal::Credentials(error.to_string()));
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Verdict::Refused(Refusal::Tls(error.to_string()));
        }
        if let Some(error) = cause.downcast_ref::<HttpError>() {
            transport = Some(error.kind());
        }
        last = cause.to_string();
    }
    match (transport, error) {
        (Some(HttpErrorKind::Connect), _) => Verdict::Transient(format!("cannot connect: {last}")),
        (Some(_), _) => Verdict::Transient(format!("the connection broke: {last}")),
        // Behind it stands a 412, or nothing: only a look at the object tells.
        (None, object_store::Error::AlreadyExists { .. }) => {
            Verdict::Transient("it exists and does not exist".to_owned())
        }
        (None, _) => Verdict::Refused(Refusal::Other(last)),
    }
}

/// An error and what is behind it, with what an [`std::io::Error`] carries.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let carried = error
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref());
        match carried {
            Some(carried) => Some(carried as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The last of the causes, which mostly says it.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}

/// What an answer means.
pub(super) fn answered(answer: &Answer) -> Verdict {
    let told = answer.to_string();
    let refusal = match answer.code.as_str() {
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Refusal::Denied(told),
        "InvalidAccessKeyId" => Refusal::UnknownKey(told),
        "SignatureDoesNotMatch" => Refusal::WrongSecret(told),
        "ExpiredToken" | "InvalidToken" | "InvalidTokenId" | "TokenRefreshRequired" => {
            Refusal::ExpiredToken(told)
        }
        "RequestTimeTooSkewed" | "RequestExpired" => Refusal::ClockSkew(answer.ahead),
        "NoSuchBucket" => Refusal::NoBucket(told),
        "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => {
            Refusal::WrongRegion(answer.region.clone())
        }
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => {
            Refusal::NoSpace(told)
        }
        // MinIO says so only in the message of an internal error.
        _ if told.contains("no space left") => Refusal::NoSpace(told),
        "EntityTooLarge" => Refusal::TooLarge(told),
        code if code.starts_with("KMS.") => Refusal::Encryption(told),
        "InvalidArgument" | "NotImplemented" if told.contains("KMS") => Refusal::Encryption(told),
        // Damage on the way, which the server has seen.
        "RequestTimeout" | "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" => {
            return Verdict::Transient(told);
        }
        "" => return without_code(answer),
        _ => return by_status(answer),
    };
    Verdict::Refused(refusal)
}

/// A HEAD has no body, so its answer has no code.
fn without_code(answer: &Answer) -> Verdict {
    if answer.region.is_some() && matches!(answer.status, 301 | 307 | 308 | 400) {
        return Verdict::Refused(Refusal::WrongRegion(answer.region.clone()));
    }
    if answer.is_s3 || is_transient(answer.status) {
        return by_status(answer);
    }
    Verdict::Refused(Refusal::NotS3(answer.to_string()))
}

fn by_status(answer: &Answer) -> Verdict {
    let told = answer.to_string();
    match answer.status {
        status if is_transient(status) => Verdict::Transient(told),
        401 | 403 => Verdict::Refused(Refusal::Denied(told)),
        507 => Verdict::Refused(Refusal::NoSpace(told)),
        _ => Verdict::Refused(Refusal::Other(told)),
    }
}

fn is_transient(status: u16) -> bool {
    match status {
        408 | 409 | 425 | 429 => true,
        501 | 505 | 507 => false,
        status => status >= 500,
    }
}

#[cfg(test)]
mod tests;
