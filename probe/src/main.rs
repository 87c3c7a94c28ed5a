//! The program in the pods of the brokers. Touches two files and port 9092 of its own pod.
//!
//! It is linked statically and copies itself, because neither image has what the other one needs: the workers' has
//! no shell, and Kafka's may be of another C library.
//!
//!   logpipe-probe install FILE    copy this program to FILE
//!   logpipe-probe ready           end with 0 when the broker of this pod, `LOGPIPE_POD_NAME`, is ready

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use logpipe_probe::chain;
use logpipe_probe::ready;
use logpipe_probe::wire::{CLIENT_PORT, CONTROLLERS};

/// For one answer. The kubelet's patience with all of it is a little more.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What Kafka writes on a disk that it has formatted.
const PROPERTIES: &str = "/var/lib/kafka/data/meta.properties";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["install", file] => install(file),
        ["ready"] => is_ready(),
        _ => Err("usage: logpipe-probe install FILE | logpipe-probe ready".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn install(file: &str) -> Result<(), String> {
    // The permissions are copied, too.
    let copied = env::current_exe().and_then(|own| fs::copy(own, file));
    let told = |error: io::Error| format!("failed to copy this program to {file}: {error}");
    copied.map(drop).map_err(told)
}

fn is_ready() -> Result<(), String> {
    let pod = env::var("LOGPIPE_POD_NAME").unwrap_or_default();
    let id = pod.rsplit_once('-').and_then(|(_, id)| id.parse().ok());
    let id = id.ok_or(format!(
        "LOGPIPE_POD_NAME is {pod:?}, which does not end in the number of a broker"
    ))?;
    let directory = (id < CONTROLLERS).then(directory).transpose()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, CLIENT_PORT));
    let connected = TcpStream::connect_timeout(&address, TIMEOUT).and_then(|stream| {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    });
    let mut stream = connected.map_err(|error| format!("{address} does not connect: {error}"))?;
    ready::check(&mut stream, id, directory).map_err(|error| chain(&error))
}

fn directory() -> Result<[u8; 16], String> {
    let properties = fs::read_to_string(PROPERTIES)
        .map_err(|error| format!("failed to read {PROPERTIES}: {error}"))?;
    ready::directory(&properties).ok_or(format!("{PROPERTIES} has no directory.id"))
}
