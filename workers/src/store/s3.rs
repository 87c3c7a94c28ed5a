//! Sets up a bucket from its settings. Reads the CA and the environment; the store itself is the object store
//! crate's, over an HTTP client of ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logpipe_api::pipeline::{Addressing, Sse, SseType};
use logpipe_api::settings::S3Settings;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use reqwest::Url;

use super::retry::Policy;
use super::verdict::{self, Place};
use super::{CreateOnly, Store};

mod answer;
mod credentials;
mod http;

pub(super) use answer::Answer;
pub use credentials::CredentialsError;
use credentials::Folder;
use http::{Connector, Limits};

/// A bucket's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The endpoint is no address of a server.
    #[error(
        "the S3 endpoint {endpoint} cannot be used: {why}. Write it as http://host:port or https://host"
    )]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The bucket or the region cannot be one.
    #[error("{value:?} is no {what} of S3: it may have lower-case letters, digits and `-`")]
    Name {
        /// Which of the two.
        what: &'static str,
        /// As it was given.
        value: String,
    },
    /// The CA file cannot be read.
    #[error("the CA file {} for S3 cannot be used: it must hold certificates in PEM", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The HTTP client cannot be made.
    #[error(
        "the HTTP client for S3 cannot be made. Install the well-known certificates (ca-certificates), or name a CA \
         in spec.sink.s3.tls"
    )]
    Client(#[source] reqwest::Error),
    /// The client refuses the settings.
    #[error("the settings of bucket {bucket} cannot be used")]
    Settings {
        /// The bucket.
        bucket: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

/// What tests make faster.
#[derive(Clone, Copy)]
pub(super) struct Tuning {
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    /// What the client itself tries again, underneath the policy.
    retries: usize,
}

impl Tuning {
    /// For writing: only the object tells what became of a put, so the client itself tries nothing again.
    pub(super) fn writing() -> Self {
        Self {
            policy: Policy::bucket(),
            limits: Limits::default(),
            retries: 0,
        }
    }

    /// For reading, where a person waits.
    fn reading() -> Self {
        Self {
            retries: 4,
            ..Self::writing()
        }
    }
}

impl Store {
    /// A bucket of S3, or of a server that speaks its protocol, for writing. Nothing is asked of it yet: that is
    /// [`probe`](Self::probe)'s.
    pub fn s3(settings: &S3Settings) -> Result<Self, SetupError> {
        Self::s3_with(settings, environment(), Tuning::writing())
    }

    /// The same for reading its objects.
    pub fn s3_reader(settings: &S3Settings) -> Result<Self, SetupError> {
        Self::s3_with(settings, environment(), Tuning::reading())
    }

    pub(super) fn s3_with(
        settings: &S3Settings,
        environment: impl Iterator<Item = (String, String)>,
        tuning: Tuning,
    ) -> Result<Self, SetupError> {
        let server = Server::new(settings)?;
        let (builder, key) = match &settings.credentials_dir {
            Some(dir) => Folder::new(dir)?.provide(AmazonS3Builder::new()),
            None => credentials::from_environment(AmazonS3Builder::new(), environment)?,
        };
        let connector = Connector::new(&server.url, settings.ca_file.as_deref(), tuning.limits)?;
        let builder = builder
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_endpoint(server.url.as_str().trim_end_matches('/'))
            .with_virtual_hosted_style_request(settings.addressing == Addressing::VirtualHost)
            .with_allow_http(server.url.scheme() == "http")
            // TLS keeps the bytes whole, and on loopback there is nobody in between; elsewhere the signature does.
            .with_unsigned_payload(server.is_private)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One delete for an object is what every server has.
            .with_disable_bulk_delete(true)
            .with_retry(retries(tuning.retries))
            .with_http_connector(connector);
        let builder = encrypt(builder, settings.sse.as_ref());
        let objects = builder.build().map_err(|source| SetupError::Settings {
            bucket: settings.bucket.clone(),
            source,
        })?;
        let objects: Arc<dyn ObjectStore> = Arc::new(objects);
        let place = format!("s3://{}/{}", settings.bucket, settings.prefix);
        Ok(Self {
            bucket: Some(Arc::new(Place {
                bucket: settings.bucket.clone(),
                endpoint: server.told,
                region: settings.region.clone(),
                key,
            })),
            policy: tuning.policy,
            create_only: CreateOnly::Enforced,
            ..Self::new(objects, place, &settings.prefix)
        })
    }

    /// What an error of [`objects`](Self::objects) means and how it is mended, where `operation` is S3's name of
    /// what was tried.
    pub fn explain(&self, operation: &'static str, error: &object_store::Error) -> String {
        let Some(place) = &self.bucket else {
            return error.to_string();
        };
        match verdict::verdict(error) {
            verdict::Verdict::Transient(reason) => place.unreachable(reason).to_string(),
            verdict::Verdict::Refused(refusal) => place.refused(operation, refusal).to_string(),
        }
    }
}

fn retries(max_retries: usize) -> RetryConfig {
    RetryConfig {
        max_retries,
        retry_timeout: Duration::from_secs(30),
        backoff: BackoffConfig {
            max_backoff: Duration::from_secs(5),
            ..BackoffConfig::default()
        },
    }
}

fn encrypt(builder: AmazonS3Builder, sse: Option<&Sse>) -> AmazonS3Builder {
    const KIND: &str = "aws_server_side_encryption";
    const KEY: &str = "aws_sse_kms_key_id";
    let key =
        |name: &str| -> AmazonS3ConfigKey { name.parse().expect("the client knows the setting") };
    let Some(sse) = sse else {
        return builder;
    };
    let kind = match sse.kind {
        SseType::S3 => "AES256",
        SseType::Kms => "aws:kms",
    };
    let builder = builder.with_config(key(KIND), kind);
    match &sse.kms_key_id {
        Some(id) => builder.with_config(key(KEY), id),
        None => builder,
    }
}

/// Where requests go.
struct Server {
    /// With the bucket in its host name, where it stands there.
    url: Url,
    /// Without it, for messages.
    told: String,
    /// Nobody can change what is sent.
    is_private: bool,
}

impl Server {
    fn new(settings: &S3Settings) -> Result<Self, SetupError> {
        check_name("bucket", &settings.bucket, "-.")?;
        check_name("region", &settings.region, "-")?;
        let region = &settings.region;
        let aws = || format!("https://s3.{region}.amazonaws.com");
        let told = settings.endpoint.clone().unwrap_or_else(aws);
        let told = told.trim_end_matches('/').to_owned();
        let wrong = |why: String| SetupError::Endpoint {
            endpoint: told.clone(),
            why,
        };
        let mut url = Url::parse(&told).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(
                "it begins with neither http:// nor https://".to_owned(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Not told: it may be a password.
            return Err(SetupError::Endpoint {
                endpoint: url.host_str().unwrap_or_default().to_owned(),
                why: "a user or a password stands in it".to_owned(),
            });
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("a path stands behind the host".to_owned()));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_loopback = is_loopback(&host);
        if settings.addressing == Addressing::VirtualHost {
            let with_bucket = format!("{}.{host}", settings.bucket);
            let is_name = host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[');
            if !is_name || url.set_host(Some(&with_bucket)).is_err() {
                return Err(wrong(
                    "an IP address cannot carry the bucket's name, as addressing VirtualHost asks for".to_owned(),
                ));
            }
        }
        Ok(Self {
            is_private: url.scheme() == "https" || is_loopback,
            url,
            told,
        })
    }
}

/// Both become part of a header, where not everything may stand.
fn check_name(what: &'static str, value: &str, signs: &str) -> Result<(), SetupError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || signs.contains(c);
    if !value.is_empty() && value.chars().all(fits) {
        return Ok(());
    }
    let value = value.to_owned();
    Err(SetupError::Name { what, value })
}

/// The variables that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn read_ca(path: &Path) -> Result<Vec<reqwest::Certificate>, SetupError> {
    let unusable = |source| SetupError::Ca {
        path: path.to_owned(),
        source,
    };
    let pem = std::fs::read(path).map_err(|error| unusable(error.into()))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.into()))?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it".into()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests;
