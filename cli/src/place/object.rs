//! One Parquet object, read by ranges: a local file through the file system, any other through the object
//! store, in blocks, of which a few are kept. Touches the disk or the network.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use logpipe_workers::store::Store;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

/// Large enough that the time of a request is small against that of its bytes.
const BLOCK: u64 = 4 << 20;
/// One block for each column that is read at a time, and some to spare.
const KEPT: usize = 16;

/// An open object.
pub(crate) enum Object {
    /// A file.
    Local(File),
    /// An object that is fetched in blocks.
    Remote(Arc<Remote>),
}

/// An object that is fetched in blocks.
pub(crate) struct Remote {
    store: Store,
    path: Path,
    size: u64,
    runtime: Handle,
    failure: Arc<Mutex<Option<String>>>,
    kept: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Remote {
    /// `failure` is told why the store failed, which Parquet's readers do not pass on.
    pub(super) fn new(
        store: Store,
        object: &ObjectMeta,
        runtime: Handle,
        failure: Arc<Mutex<Option<String>>>,
    ) -> Self {
        Self {
            store,
            path: object.location.clone(),
            size: object.size,
            runtime,
            failure,
            kept: Mutex::default(),
        }
    }

    /// The bytes `[start, end)`.
    fn range(&self, start: u64, end: u64) -> Result<Bytes> {
        if end > self.size {
            return Err(ParquetError::EOF(format!(
                "the bytes [{start}, {end}) are asked for, but there are only {}",
                self.size
            )));
        }
        let mut joined = BytesMut::new();
        let mut at = start;
        while at < end {
            let number = at / BLOCK;
            let block = self.block(number)?;
            let from = (at - number * BLOCK) as usize;
            let until = block.len().min((end - number * BLOCK) as usize);
            if at == start && until - from == (end - start) as usize {
                return Ok(block.slice(from..until));
            }
            joined.extend_from_slice(&block[from..until]);
            at += (until - from) as u64;
        }
        Ok(joined.freeze())
    }

    fn block(&self, number: u64) -> Result<Bytes> {
        // A panic elsewhere leaves the kept blocks as good as they were.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = kept.iter().find(|(found, _)| *found == number) {
            return Ok(block.clone());
        }
        let range = number * BLOCK..self.size.min((number + 1) * BLOCK);
        let expected = range.end - range.start;
        let block = self
            .runtime
            .block_on(self.store.objects().get_range(&self.path, range))
            .map_err(|error| self.failed(&error))?;
        if block.len() as u64 != expected {
            return Err(ParquetError::EOF("the store sent too few bytes".to_owned()));
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((number, block.clone()));
        Ok(block)
    }
}

impl Remote {
    fn failed(&self, error: &object_store::Error) -> ParquetError {
        let why = self.store.explain("GetObject", error);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(why.clone());
        ParquetError::General(why)
    }
}

/// Reads an object from a place on.
struct RemoteRead {
    remote: Arc<Remote>,
    at: u64,
}

impl Read for RemoteRead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let block_end = (self.at / BLOCK + 1) * BLOCK;
        let end = (self.at + buffer.len() as u64)
            .min(block_end)
            .min(self.remote.size);
        if self.at >= end {
            return Ok(0);
        }
        let bytes = self
            .remote
            .range(self.at, end)
            .map_err(std::io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => file.len(),
            Self::Remote(remote) => remote.size,
        }
    }
}

impl ChunkReader for Object {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        match self {
            Self::Local(file) => Ok(Box::new(BufReader::new(file.get_read(start)?))),
            Self::Remote(remote) => Ok(Box::new(RemoteRead {
                remote: Arc::clone(remote),
                at: start,
            })),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Remote(remote) => remote.range(start, start + length as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn a_remote_object_reads_like_a_file_across_blocks() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let size = 2 * BLOCK + 1000;
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let store = Store::new(Arc::new(InMemory::new()), "memory".to_owned(), "");
        let path = Path::from("big");
        let payload = PutPayload::from(bytes.clone());
        let object = runtime.block_on(async {
            store.objects().put(&path, payload).await.unwrap();
            store.objects().head(&path).await.unwrap()
        });
        let failure = Arc::default();
        let remote = Remote::new(store, &object, runtime.handle().clone(), failure);
        let object = Object::Remote(Arc::new(remote));
        for (start, length) in [(0, 10), (BLOCK - 5, 10), (10, 2 * BLOCK), (size - 3, 3)] {
            let expected = &bytes[start as usize..(start + length) as usize];
            assert_eq!(object.get_bytes(start, length as usize).unwrap(), expected);
            let mut read = Vec::new();
            object
                .get_read(start)
                .unwrap()
                .take(length)
                .read_to_end(&mut read)
                .unwrap();
            assert_eq!(read, expected);
        }
        assert!(object.get_bytes(size - 3, 4).is_err());
    }
}
