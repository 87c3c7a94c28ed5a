//! The HTTP client under the bucket: it ends what stalls, follows no redirect, and makes an error with the
//! server's own words of every answer that is not a success. Touches the network.

use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::Url;
use reqwest::redirect;

use super::super::verdict::{self, Verdict};
use super::answer;
use super::credentials::CredentialsError;
use super::{SetupError, is_loopback, read_ca};

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a connection.
    pub(crate) connect: Duration,
    /// For an answer, beside the time that the bytes of a put take.
    pub(crate) answer: Duration,
    /// Bytes a second of a put over the slowest line that is still of use.
    pub(crate) rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_mins(1),
            rate: 256 * 1024,
        }
    }
}

/// Makes the clients of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: Client,
}

/// One bucket's client.
#[derive(Clone, Debug)]
struct Client {
    /// For requests without a body: ends when nothing comes for a while.
    reads: reqwest::Client,
    /// For puts, where nothing comes until all is sent.
    writes: reqwest::Client,
    /// The S3 server; whatever else is asked is asked for credentials.
    server: String,
    limits: Limits,
}

/// A request got no answer in its time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f32())]
struct NoAnswer(Duration);

impl Connector {
    pub(super) fn new(
        url: &Url,
        ca_file: Option<&str>,
        limits: Limits,
    ) -> Result<Self, SetupError> {
        // An error only says that it is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let ca = ca_file.map(|path| read_ca(path.as_ref())).transpose()?;
        let ca = ca.unwrap_or_default();
        let client = |read_timeout: Option<Duration>| {
            let with = |well_known: bool| {
                let mut builder = reqwest::Client::builder()
                    .user_agent(concat!("logpipe/", env!("CARGO_PKG_VERSION")))
                    .connect_timeout(limits.connect)
                    .redirect(redirect::Policy::none())
                    .http1_only();
                if let Some(timeout) = read_timeout {
                    builder = builder.read_timeout(timeout);
                }
                // No proxy reaches this machine's own loopback.
                if url.host_str().is_some_and(is_loopback) {
                    builder = builder.no_proxy();
                }
                if well_known {
                    builder.tls_certs_merge(ca.clone()).build()
                } else {
                    builder.tls_certs_only(ca.clone()).build()
                }
            };
            // A container without well-known certificates can talk plain HTTP all the same.
            with(true).or_else(|error| match url.scheme() {
                "http" => with(false),
                _ => Err(error),
            })
        };
        Ok(Self {
            client: Client {
                reads: client(Some(limits.answer)).map_err(SetupError::Client)?,
                writes: client(None).map_err(SetupError::Client)?,
                server: url.authority().to_owned(),
                limits,
            },
        })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.client.clone()))
    }
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let server = request.uri().authority().map(ToString::to_string);
        if server.as_ref() != Some(&self.server) {
            return self.ask_for_credentials(request).await;
        }
        let asked = answer::Asked::of(&request);
        let bytes = request.body().content_length() as u64;
        if bytes == 0 && asked.is_read() {
            let response = HttpService::call(&self.reads, request).await?;
            return check(asked, response).await;
        }
        let limit = self.limits.answer + Duration::from_secs(bytes / self.limits.rate.max(1));
        let put = async {
            let response = HttpService::call(&self.writes, request).await?;
            check(asked, response).await
        };
        within(limit, put).await
    }
}

impl Client {
    /// From a token service or from the machine's own metadata.
    async fn ask_for_credentials(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let server = request.uri().authority().map(ToString::to_string);
        let ask = HttpService::call(&self.writes, request);
        let failed = |why: &dyn std::fmt::Display| {
            let server = server.unwrap_or_default();
            let why = why.to_string();
            HttpError::new(
                HttpErrorKind::Unknown,
                CredentialsError::Service { server, why },
            )
        };
        let limit = self.limits.connect * 2;
        match within(limit, ask).await {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => {
                let answer = answer::read(answer::Asked::Credentials, response).await;
                Err(failed(&answer))
            }
            Err(error) => Err(failed(&verdict::innermost(&error))),
        }
    }
}

async fn within(
    limit: Duration,
    request: impl Future<Output = Result<HttpResponse, HttpError>>,
) -> Result<HttpResponse, HttpError> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, NoAnswer(limit))),
    }
}

/// Lets pass what the object store crate understands by itself.
async fn check(asked: answer::Asked, response: HttpResponse) -> Result<HttpResponse, HttpError> {
    if asked.passes(&response) {
        return Ok(response);
    }
    let answer = answer::read(asked, response).await;
    // `Request` is what the client may try again where it may try at all.
    let kind = match verdict::answered(&answer) {
        Verdict::Transient(_) => HttpErrorKind::Request,
        Verdict::Refused(_) => HttpErrorKind::Unknown,
    };
    Err(HttpError::new(kind, answer))
}
