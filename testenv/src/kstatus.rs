//! What tools that go by kstatus make of objects: the library itself, in a small Go program.

use std::{
    io::{Error as IoError, Write},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Error, go_build::KSTATUS};

/// The kstatus of each object: `InProgress`, `Current`, `Failed`, `Terminating`.
pub async fn kstatus(objects: &[Value]) -> Result<Vec<String>, Error> {
    KSTATUS.build(&["kstatus"]).await?;
    let program = KSTATUS.path("kstatus")?;
    let run = || -> Result<Vec<String>, IoError> {
        let mut running = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // All of it is read before anything is written. Dropping the pipe ends it.
        if let Some(mut stdin) = running.stdin.take() {
            stdin.write_all(&serde_json::to_vec(objects)?)?;
        }
        let output = running.wait_with_output()?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(IoError::other(told));
        }
        let told = String::from_utf8_lossy(&output.stdout);
        Ok(told.lines().map(str::to_owned).collect())
    };
    run().map_err(|error| Error::io("running", &program, error))
}
