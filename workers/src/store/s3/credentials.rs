//! The access key: from the files of a folder, or from where the environment says. Reads files and variables;
//! never shows what is in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};

const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// There is nothing to sign requests with.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why. No source, or whoever prints the causes says it twice.
        why: std::io::Error,
    },
    /// A key, secret or token is not one.
    #[error("{place} is empty, or holds more than one word of letters, digits and signs")]
    Malformed {
        /// The file or variable.
        place: String,
    },
    /// One is there without the other.
    #[error("the environment has {there}, but not {missing}: set both or none")]
    Half {
        /// The variable that is set.
        there: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The service that gives out credentials does not.
    #[error("{server} gave none: {why}")]
    Service {
        /// The token service, or the machine's own metadata.
        server: String,
        /// What it said.
        why: String,
    },
}

/// A folder with the files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and maybe `AWS_SESSION_TOKEN`. They are
/// small and read for each request, so that new ones count at once.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Reads them once, to say at the start what is wrong.
    pub(super) fn new(dir: &str) -> Result<Self, CredentialsError> {
        let folder = Self(PathBuf::from(dir));
        folder.read()?;
        Ok(folder)
    }

    /// The client with these credentials, and what to call them.
    pub(super) fn provide(self, builder: AmazonS3Builder) -> (AmazonS3Builder, String) {
        let key = format!("the key in {}", self.0.display());
        (builder.with_credentials(Arc::new(self)), key)
    }

    fn read(&self) -> Result<AwsCredential, CredentialsError> {
        // A Secret's files are replaced together by turning a link, but not between two reads of ours: what was
        // read is whole when it is read twice alike.
        let mut last = self.read_once()?;
        for _ in 0..4 {
            let again = self.read_once()?;
            if again == last {
                break;
            }
            last = again;
        }
        Ok(last)
    }

    fn read_once(&self) -> Result<AwsCredential, CredentialsError> {
        let token = match read(&self.0, TOKEN) {
            Err(CredentialsError::File { why, .. })
                if why.kind() == std::io::ErrorKind::NotFound =>
            {
                None
            }
            token => Some(token?),
        };
        Ok(AwsCredential {
            key_id: read(&self.0, KEY)?,
            secret_key: read(&self.0, SECRET)?,
            token,
        })
    }
}

#[async_trait]
impl CredentialProvider for Folder {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let read = self.read();
        read.map(Arc::new)
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            })
    }
}

fn read(dir: &Path, name: &str) -> Result<String, CredentialsError> {
    let path = dir.join(name);
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|why| CredentialsError::File {
        path: path.clone(),
        why,
    })?;
    check(&text, &path.display().to_string())
}

/// One word without anything that may not stand in a header. White space around it does not belong to it.
fn check(text: &str, place: &str) -> Result<String, CredentialsError> {
    let word = text.trim();
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        let place = place.to_owned();
        return Err(CredentialsError::Malformed { place });
    }
    Ok(word.to_owned())
}

/// The client with the credentials of the environment, and what to call them. Of the `AWS_*` variables only
/// those about credentials count: the bucket, its server and its region are the manifest's.
pub(super) fn from_environment(
    mut builder: AmazonS3Builder,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(AmazonS3Builder, String), CredentialsError> {
    use AmazonS3ConfigKey as Key;
    let mut given = Vec::new();
    for (name, value) in environment {
        let Some(key) = variable(&name) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let value = match key {
            Key::AccessKeyId | Key::SecretAccessKey | Key::Token => check(&value, &name)?,
            _ => value,
        };
        given.push(key);
        builder = builder.with_config(key, value);
    }
    let has = |key: Key| given.contains(&key);
    let key = match (has(Key::AccessKeyId), has(Key::SecretAccessKey)) {
        (true, true) => "AWS_ACCESS_KEY_ID of the environment",
        (true, false) => {
            let (there, missing) = (KEY, SECRET);
            return Err(CredentialsError::Half { there, missing });
        }
        (false, true) => {
            let (there, missing) = (SECRET, KEY);
            return Err(CredentialsError::Half { there, missing });
        }
        _ if has(Key::WebIdentityTokenFile) && has(Key::RoleArn) => "the role in AWS_ROLE_ARN",
        _ if has(Key::ContainerCredentialsRelativeUri) => "the container's role",
        _ if has(Key::ContainerCredentialsFullUri) => "the container's role",
        _ => "the machine's own role",
    };
    Ok((builder, key.to_owned()))
}

fn variable(name: &str) -> Option<AmazonS3ConfigKey> {
    use AmazonS3ConfigKey as Key;
    if !name.starts_with("AWS_") {
        return None;
    }
    let key = name.to_ascii_lowercase().parse().ok()?;
    let counts = matches!(
        key,
        Key::AccessKeyId
            | Key::SecretAccessKey
            | Key::Token
            | Key::WebIdentityTokenFile
            | Key::RoleArn
            | Key::RoleSessionName
            | Key::StsEndpoint
            | Key::ContainerCredentialsRelativeUri
            | Key::ContainerCredentialsFullUri
            | Key::ContainerAuthorizationTokenFile
            | Key::MetadataEndpoint
            | Key::ImdsV1Fallback
    );
    counts.then_some(key)
}

#[cfg(test)]
mod tests;
