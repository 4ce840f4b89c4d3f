//! A server's processes: started together, signalled together, and never left behind.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Kills the group when its input ends, which it does however the process that holds the other end
/// of it ends. Destructors are no help there: none runs at Ctrl-C, and none for a `static`.
const WARDEN: &str = r#"read -r _; kill -s KILL -- "-$1""#;

/// A process with all that it started, in a group of its own. Killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    warden: Child,
}

impl Process {
    /// Starts a command; what it prints goes to `log`.
    pub(crate) fn spawn(mut command: Command, log: &File) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let mut child = command.process_group(0).spawn()?;
        let warden = Command::new("sh")
            .args(["-c", WARDEN, "sh", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match warden {
            Ok(warden) => Ok(Self { child, warden }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Its status, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Returns when it has stopped: a stop takes effect a moment after the signal was sent.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        let either = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.id()), either)?;
        match status {
            Some(status) if status.stopped() => Ok(()),
            _ => Err(io::Error::other("it has ended")),
        }
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process_group(self.id(), signal)?)
    }

    pub(crate) fn number(&self) -> u32 {
        self.child.id()
    }

    /// The child's id, which is the group's too.
    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child is waited for last: until then nobody else can have its id.
        let _ = self.signal(Signal::KILL);
        let _ = self.warden.kill();
        let _ = self.warden.wait();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = tempfile::tempfile().unwrap();
        Process::spawn(command, &log).unwrap()
    }

    #[test]
    fn the_group_is_killed_when_its_parent_is_gone() {
        let mut process = shell("sleep 1000 & wait");
        // The pipe ends like this when the process that holds it ends.
        drop(process.warden.stdin.take());
        let status = process.child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn what_has_ended_cannot_be_paused() {
        let process = shell("exit 3");
        let all = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(process.id()), all).unwrap();
        assert!(process.pause().is_err());
    }

    #[test]
    fn it_can_be_paused_again_after_it_was_resumed() {
        let process = shell("while :; do :; done");
        for _ in 0..100 {
            process.pause().unwrap();
            process.resume().unwrap();
        }
    }
}
