//! Writes the CRDs, generated from the Rust types, into a directory.

use std::{env, fs, path::PathBuf};

use anyhow::Context;
use kube::ResourceExt;

fn main() -> anyhow::Result<()> {
    let dir = PathBuf::from(env::args().nth(1).context("usage: crdgen DIRECTORY")?);
    fs::create_dir_all(&dir)?;
    for crd in nightshift::api::crds() {
        let file = dir.join(format!("{}.yaml", crd.name_any()));
        fs::write(&file, serde_yaml::to_string(&crd)?).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
