//! The question at the start: does the bucket take, keep and list objects, and does it refuse to create one
//! twice? Writes one small object that no reader of the table takes for a file of it, and removes it.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::retry::{Attempts, GaveUp};
use super::verdict::{Place, Refusal, Refused};
use super::{Failure, Store};

/// The object, below the prefix. Spark, Hive and Athena leave out what begins with an underscore, and it lies in
/// no folder `dt=…`.
const PROBE: &str = "_logpipe/probe";
/// What stands in it, before a number that is drawn for each put.
const TEXT: &str = "logpipe probe ";
/// How often a second create must succeed until it counts: another worker may just have removed its probe.
const ROUNDS: usize = 3;

/// Whether a store refuses to create an object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOnly {
    /// It does.
    Enforced,
    /// It overwrites. Objects are looked for before they are written, and the announced batch makes sure that
    /// whoever overwrites one writes the same.
    Ignored,
}

impl Store {
    /// Asks the bucket once, before it is used, and goes by what it answers from then on. What a person must mend
    /// is said at once; what passes by itself is waited for half a minute. A folder has nothing to be asked.
    pub async fn probe(&mut self) -> Result<CreateOnly, Refused> {
        let Some(bucket) = self.bucket.clone() else {
            return Ok(self.create_only);
        };
        let path = self.path(PROBE);
        let mut found = CreateOnly::Ignored;
        for _ in 0..ROUNDS {
            if self.creates_once(&bucket, &path).await? {
                found = CreateOnly::Enforced;
                break;
            }
        }
        let mut attempts = self.attempts(self.policy.at_start());
        loop {
            let first = self.objects.list(Some(&self.prefix)).try_next().await;
            if answered(&mut attempts, "ListBucket", first)
                .await?
                .is_some()
            {
                break;
            }
        }
        if found == CreateOnly::Ignored {
            tracing::warn!(
                "{} creates an object that is there already, which S3 servers should refuse; it is looked at before \
                 each put instead, and each line is still there once",
                self.place
            );
        }
        self.create_only = found;
        Ok(found)
    }

    /// Creates the object twice. Whoever finds it there, because another worker asks at the same time or could
    /// not remove it, has the answer at once.
    async fn creates_once(&self, bucket: &Place, path: &Path) -> Result<bool, Refused> {
        if !self.create_probe(path).await? {
            return Ok(true);
        }
        let text = self.read_probe(path).await?;
        if !text.starts_with(TEXT.as_bytes()) {
            let what = "another object came back than was written".to_owned();
            return Err(bucket.refused("GetObject", Refusal::NotS3(what)));
        }
        let created_again = self.create_probe(path).await?;
        // Without the right to delete it stays, which does no harm.
        if let Err(error) = self.objects.delete(path).await {
            tracing::debug!(%path, %error, "the probe stays");
        }
        Ok(!created_again)
    }

    /// Whether the object could be created; `false` where it is there.
    async fn create_probe(&self, path: &Path) -> Result<bool, Refused> {
        let mut attempts = self.attempts(self.policy.at_start());
        loop {
            let number = getrandom::u64().unwrap_or(0);
            let payload = PutPayload::from(format!("{TEXT}{number:016x}\n"));
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            let created = match self.objects.put_opts(path, payload, options).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                Err(error) => Err(error),
            };
            if let Some(created) = answered(&mut attempts, "PutObject", created).await? {
                return Ok(created);
            }
        }
    }

    /// What is in the object now. Where another worker has just removed it, nothing contradicts.
    async fn read_probe(&self, path: &Path) -> Result<Bytes, Refused> {
        let mut attempts = self.attempts(self.policy.at_start());
        loop {
            let text = match self.objects.get(path).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            if let Some(text) = answered(&mut attempts, "GetObject", text).await? {
                return Ok(text);
            }
        }
    }
}

/// The answer, or nothing where it has to be asked once more.
async fn answered<T>(
    attempts: &mut Attempts<'_>,
    operation: &'static str,
    answer: object_store::Result<T>,
) -> Result<Option<T>, Refused> {
    let error = match answer {
        Ok(answer) => {
            attempts.succeeded();
            return Ok(Some(answer));
        }
        Err(error) => error,
    };
    match attempts.failed(Failure { operation, error }).await {
        Ok(()) => Ok(None),
        Err(GaveUp::Refused(refused)) => Err(refused),
        Err(GaveUp::Failed { .. }) => unreachable!("only a bucket is asked"),
    }
}
