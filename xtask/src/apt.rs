//! Debian and Ubuntu packages, where this user may install them.

use std::path::Path;
use std::process::{Command, Stdio};

/// Installs `packages`; an error says why that was not possible.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    let prefix = prefix()?;
    eprintln!("xtask: installing {}", packages.join(" "));
    run(&prefix, &["update", "-q"])?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    run(&prefix, &arguments)
}

/// What to put before `apt-get`: nothing for root, sudo for whoever needs no password.
fn prefix() -> Result<Vec<&'static str>, String> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err("there is no apt-get here".into());
    }
    let user = Command::new("id").arg("-u").output();
    if user.is_ok_and(|user| user.stdout.trim_ascii() == b"0") {
        return Ok(vec![]);
    }
    let may = Command::new("sudo")
        .args(["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    match may {
        true => Ok(vec!["sudo", "-n"]),
        false => Err("installing needs root or sudo without a password".into()),
    }
}

fn run(prefix: &[&str], arguments: &[&str]) -> Result<(), String> {
    // `env` carries the variable through sudo, which drops the caller's.
    let words: Vec<&str> = prefix
        .iter()
        .copied()
        .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .chain(arguments.iter().copied())
        .collect();
    let status = Command::new(words[0])
        .args(&words[1..])
        // What apt prints is progress, not the answer of this command.
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run `{}`: {error}", words.join(" ")))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("`{}` failed ({status})", words.join(" "))),
    }
}
