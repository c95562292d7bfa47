//! Reads and writes the files of profiles, which are beside the bundle.

use std::fs;
use std::path::{Path, PathBuf};

use super::{BundleFiles, Machine, Profile};
use crate::Bundle;

/// Why a profile cannot be read, used or written.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error(
        "profile {}: cannot read the file: {source}; make it readable, or measure again with \
         `dorfman profile`",
        file.display()
    )]
    Read {
        /// The file of the profile.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not JSON, or a field has a wrong type or value.
    #[error("profile {}: `{field}`: {what}; measure again with `dorfman profile`", file.display())]
    Invalid {
        /// The file of the profile.
        file: PathBuf,
        /// The path of the field.
        field: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The profile was measured with the files of another bundle, or on another machine.
    #[error("profile {}: {what}; measure again with `dorfman profile`", file.display())]
    Stale {
        /// The file of the profile.
        file: PathBuf,
        /// The difference.
        what: String,
    },
    /// The file cannot be written.
    #[error(
        "profile {}: cannot write the file: {source}; name another file with `--out FILE`",
        file.display()
    )]
    Write {
        /// The file of the profile.
        file: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

impl Profile {
    /// The path of the profile of the bundle in the folder `bundle` on `machine`.
    pub fn path(bundle: &Path, machine: &Machine) -> PathBuf {
        bundle.join("profiles").join(format!("{}.json", machine.key()))
    }

    /// The profile of `bundle` on `machine`. `None` if the file [`Profile::path`] does not exist.
    ///
    /// # Errors
    /// [`ProfileError::Read`] if the file cannot be read, [`ProfileError::Invalid`] if the
    /// file is not a profile, [`ProfileError::Stale`] if the profile was measured with other
    /// network files or on another machine.
    pub fn find(bundle: &Bundle, machine: &Machine) -> Result<Option<Self>, ProfileError> {
        let file = Self::path(&bundle.dir, machine);
        if !file.exists() {
            return Ok(None);
        }
        let profile = Self::read(&file)?;
        let stale = difference(&profile, &BundleFiles::of(&bundle.manifest), machine);
        stale.map_or(Ok(Some(profile)), |what| Err(ProfileError::Stale { file, what }))
    }

    /// The profile of `bundle` in `file`, measured on any machine.
    ///
    /// # Errors
    /// [`ProfileError::Read`] if the file cannot be read, [`ProfileError::Invalid`] if the
    /// file is not a profile, [`ProfileError::Stale`] if the profile was measured with other
    /// network files.
    pub fn of(bundle: &Bundle, file: &Path) -> Result<Self, ProfileError> {
        let profile = Self::read(file)?;
        let stale = difference(&profile, &BundleFiles::of(&bundle.manifest), &profile.machine);
        stale.map_or(Ok(profile), |what| Err(ProfileError::Stale { file: file.to_owned(), what }))
    }

    /// The profile in `file`, of any bundle and any machine.
    ///
    /// # Errors
    /// [`ProfileError::Read`] if the file cannot be read, [`ProfileError::Invalid`] if the
    /// file is not a profile.
    pub fn read(file: &Path) -> Result<Self, ProfileError> {
        let bytes = fs::read(file)
            .map_err(|source| ProfileError::Read { file: file.to_owned(), source })?;
        let wrong = |field: String, what: String| ProfileError::Invalid {
            file: file.to_owned(),
            field,
            what,
        };
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let profile: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|e| wrong(e.path().to_string(), e.inner().to_string()))?;
        check(&profile).map_err(|(field, what)| wrong(field, what))?;
        Ok(profile)
    }

    /// Checks that `file` can be written, before the time to measure is spent. Creates the folder
    /// of the file if it does not exist.
    ///
    /// # Errors
    /// [`ProfileError::Write`] if the folder cannot be created or is not writable.
    pub fn prepare(file: &Path) -> Result<(), ProfileError> {
        let failed = |source| ProfileError::Write { file: file.to_owned(), source };
        let folder = folder(file);
        if !folder.is_dir() {
            fs::create_dir(folder).map_err(failed)?;
        }
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(|e| failed(e.into()))
    }

    /// Writes the profile to `file`. The file is replaced atomically: a concurrent reader gets the
    /// old file or the new one.
    ///
    /// # Errors
    /// [`ProfileError::Write`] if the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<(), ProfileError> {
        let failed = |source| ProfileError::Write { file: file.to_owned(), source };
        let mut json = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        json.push(b'\n');
        let mut new = file.as_os_str().to_owned();
        new.push(".new");
        fs::write(&new, json).and_then(|()| fs::rename(&new, file)).map_err(failed)
    }
}

/// The folder of a file. A file name without a folder is in the current folder.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks a profile beyond its JSON types. The error is the first wrong field, and a message that
/// states what is wrong or what would be right.
fn check(profile: &Profile) -> Result<(), (String, String)> {
    if profile.format != 1 {
        return Err((
            "format".into(),
            format!("is {}; this version of dorfman reads only format 1", profile.format),
        ));
    }
    // A pixel network has one file, but two stages: its stage 0 only keeps the images.
    let stages = profile.bundle.stages.len().max(2);
    if profile.stages.len() != stages
        || profile.confirm.is_some() != profile.bundle.confirm.is_some()
        || profile.screen.is_some() != profile.bundle.screen.is_some()
    {
        return Err((
            "stages".into(),
            format!(
                "must have {stages} entries, and `confirm` and `screen` if the bundle has such a \
                 network"
            ),
        ));
    }
    for (part, measured) in profile.parts() {
        let wrong =
            measured.measured.iter().any(|p| p.arity == 0 || p.rows == 0 || p.seconds.median < 0.0);
        if wrong || measured.measured.is_empty() {
            return Err((
                format!("stage {part}"),
                "must have measurements, with arity and rows of at least 1 and no negative seconds"
                    .into(),
            ));
        }
    }
    Ok(())
}

/// The first difference between the machine and files of a profile and the given ones. `None` if
/// they are the same.
fn difference(profile: &Profile, bundle: &BundleFiles, machine: &Machine) -> Option<String> {
    let measured_on = profile.machine.key();
    let this_machine = machine.key();
    if measured_on != this_machine {
        return Some(format!(
            "it was measured on {measured_on}, but this machine is {this_machine}"
        ));
    }
    let measured = &profile.bundle;
    if measured.stages.len() != bundle.stages.len() {
        return Some(format!(
            "it was measured with {} stages, but the bundle has {}",
            measured.stages.len(),
            bundle.stages.len()
        ));
    }
    let pairs = measured.stages.iter().zip(&bundle.stages).enumerate();
    let stages = pairs.map(|(i, (was, is))| (format!("stage {i}"), was.as_str(), is.as_str()));
    let other = |name: &str, was: &'_ Option<String>, is: &'_ Option<String>| {
        let was = was.as_deref().unwrap_or("none").to_owned();
        is.as_ref().map(|is| (name.to_owned(), was, is.clone()))
    };
    let confirm = other("confirm network", &measured.confirm, &bundle.confirm);
    let screen = other("screen", &measured.screen, &bundle.screen);
    let stages = stages.map(|(part, was, is)| (part, was.to_owned(), is.to_owned()));
    let mut parts = stages.chain(confirm).chain(screen);
    let (part, was, is) = parts.find(|(_, was, is)| !was.eq_ignore_ascii_case(is))?;
    Some(format!(
        "it was measured with another {part}: {} {} with SHA-256 {was}, but the bundle has {is}",
        measured.name, measured.version
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    fn files(stages: [&str; 2], confirm: Option<&str>) -> BundleFiles {
        let [name, version] = ["b", "1"].map(String::from);
        BundleFiles {
            name,
            version,
            stages: stages.map(String::from).to_vec(),
            confirm: confirm.map(String::from),
            screen: None,
        }
    }

    #[test]
    fn a_profile_of_another_bundle_or_machine_is_detected() {
        let profile = Profile { bundle: files(["aa", "bb"], Some("cc")), ..profile() };
        let found =
            |stages, confirm| difference(&profile, &files(stages, confirm), &profile.machine);
        assert_eq!(found(["AA", "bb"], Some("cc")), None);
        assert_eq!(found(["aa", "bb"], None), None, "a bundle whose confirm network is not used");
        assert!(found(["aa", "b0"], Some("cc")).unwrap().contains("another stage 1"));
        assert!(found(["aa", "bb"], Some("c0")).unwrap().contains("another confirm network"));
        let elsewhere = Machine { cores: 2, ..profile.machine.clone() };
        assert!(difference(&profile, &profile.bundle, &elsewhere).unwrap().contains("-8-cores-"));
    }

    #[test]
    fn a_profile_without_measurements_is_refused() {
        let whole = Profile { bundle: files(["aa", "bb"], None), ..profile() };
        assert_eq!(check(&whole), Ok(()));
        let wrong = |change: fn(&mut Profile)| {
            let mut profile = whole.clone();
            change(&mut profile);
            check(&profile).unwrap_err().0
        };
        assert_eq!(wrong(|p| p.format = 2), "format");
        assert_eq!(wrong(|p| p.stages.truncate(1)), "stages");
        assert_eq!(wrong(|p| p.bundle.confirm = Some("cc".into())), "stages");
        assert_eq!(wrong(|p| p.stages[1].measured.clear()), "stage 1");
        assert_eq!(wrong(|p| p.stages[0].measured[0].rows = 0), "stage 0");
    }
}
