//! Profiles as files, beside the bundle that they are of.

use std::fs;
use std::path::{Path, PathBuf};

use super::{BundleFiles, Machine, Profile};
use crate::Bundle;

/// Why there is no profile to be had, or none could be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file can't be read.
    #[error("profile {}: can't read it: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not JSON of the right form.
    #[error("profile {}: `{field}`: {what}", file.display())]
    NetworkShape {
        /// The file.
        file: PathBuf,
        /// Which field.
        field: String,
        /// What is wrong and what would be right.
        what: String,
    },
    /// It was measured with other files than the bundle's, or elsewhere.
    #[error("profile {}: {what}; measure again with `dorfman profile`", file.display())]
    Stale {
        /// The file.
        file: PathBuf,
        /// What differs.
        what: String,
    },
    /// The file can't be written.
    #[error("profile {}: can't write it: {source}; `--out FILE` names another place", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Profile {
    /// Where the profile of a bundle on a machine lies.
    pub fn path(bundle: &Path, machine: &Machine) -> PathBuf {
        bundle.join("profiles").join(format!("{}.json", machine.key()))
    }

    /// The profile of a bundle on a machine, if one lies beside the bundle.
    ///
    /// # Errors
    /// [`ProfileError::Read`] and [`ProfileError::NetworkShape`] for a file that is no profile, [`ProfileError::Stale`] for one of other networks
    /// or of another machine.
    pub fn find(bundle: &Bundle, machine: &Machine) -> Result<Option<Self>, ProfileError> {
        let file = Self::path(&bundle.dir, machine);
        if !file.exists() {
            return Ok(None);
        }
        let profile = Self::read(&file)?;
        let stale = difference(&profile, &BundleFiles::of(&bundle.manifest), machine);
        stale.map_or(Ok(Some(profile)), |what| Err(ProfileError::Stale { file, what }))
    }

    /// The profile of a bundle in a file, of whatever machine.
    ///
    /// # Errors
    /// As [`Profile::find`], but for the machine.
    pub fn of(bundle: &Bundle, file: &Path) -> Result<Self, ProfileError> {
        let profile = Self::read(file)?;
        let stale = difference(&profile, &BundleFiles::of(&bundle.manifest), &profile.machine);
        stale.map_or(Ok(profile), |what| Err(ProfileError::Stale { file: file.to_owned(), what }))
    }

    /// The profile in a file, whatever it is of.
    ///
    /// # Errors
    /// [`ProfileError::Read`] and [`ProfileError::NetworkShape`].
    pub fn read(file: &Path) -> Result<Self, ProfileError> {
        let bytes = fs::read(file)
            .map_err(|source| ProfileError::Read { file: file.to_owned(), source })?;
        let wrong = |field: String, what: String| ProfileError::NetworkShape {
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

    /// Makes sure that a file can be written, before the work that fills it: the folder beside the bundle is made.
    ///
    /// # Errors
    /// [`ProfileError::Write`].
    pub fn prepare(file: &Path) -> Result<(), ProfileError> {
        let failed = |source| ProfileError::Write { file: file.to_owned(), source };
        let folder = folder(file);
        if !folder.is_dir() {
            fs::create_dir(folder).map_err(failed)?;
        }
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(|e| failed(e.into()))
    }

    /// Writes it; whoever reads meanwhile sees the old file or the new one.
    ///
    /// # Errors
    /// [`ProfileError::Write`].
    pub fn write(&self, file: &Path) -> Result<(), ProfileError> {
        let failed = |source| ProfileError::Write { file: file.to_owned(), source };
        let mut json = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        json.push(b'\n');
        let mut beside = file.as_os_str().to_owned();
        beside.push(".new");
        fs::write(&beside, json).and_then(|()| fs::rename(&beside, file)).map_err(failed)
    }
}

/// The folder of a file; a bare name lies in the current one.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The first thing that is wrong beyond the JSON types: the field, and what would be right.
fn check(profile: &Profile) -> Result<(), (String, String)> {
    if profile.format != 1 {
        return Err((
            "format".into(),
            format!("is {}, this version reads format 1", profile.format),
        ));
    }
    // A pixel network keeps its images in a stage of the engine's own.
    let stages = profile.bundle.stages.len().max(2);
    if profile.stages.len() != stages
        || profile.confirm.is_some() != profile.bundle.confirm.is_some()
    {
        return Err((
            "stages".into(),
            format!("must be {stages}, and a confirm network if the bundle has one"),
        ));
    }
    for (part, measured) in profile.parts() {
        let wrong =
            measured.measured.iter().any(|p| p.arity == 0 || p.rows == 0 || p.seconds.median < 0.0);
        if wrong || measured.measured.is_empty() {
            return Err((
                format!("stage {part}"),
                "must have measurements, of at least one row each".into(),
            ));
        }
    }
    Ok(())
}

/// What a profile was measured with that is not what it is asked for, if anything.
fn difference(profile: &Profile, bundle: &BundleFiles, machine: &Machine) -> Option<String> {
    let (is, wanted) = (profile.machine.key(), machine.key());
    if is != wanted {
        return Some(format!("it was measured on {is}, this is {wanted}"));
    }
    let measured = &profile.bundle;
    if measured.stages.len() != bundle.stages.len() {
        return Some(format!(
            "it is of {} stages, the bundle has {}",
            measured.stages.len(),
            bundle.stages.len()
        ));
    }
    let pairs = measured.stages.iter().zip(&bundle.stages).enumerate();
    let stages = pairs.map(|(i, (was, is))| (format!("stage {i}"), was.as_str(), is.as_str()));
    let was = measured.confirm.as_deref().unwrap_or("none");
    let confirm = bundle.confirm.iter().map(|is| ("confirm network".to_owned(), was, is.as_str()));
    let (part, was, is) =
        stages.chain(confirm).find(|(_, was, is)| !was.eq_ignore_ascii_case(is))?;
    Some(format!(
        "it was measured with another {part} (that of {} {}, SHA-256 {was}; the bundle's is {is})",
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
        }
    }

    #[test]
    fn a_profile_of_other_networks_is_told_from_one_of_these() {
        let profile = Profile { bundle: files(["aa", "bb"], Some("cc")), ..profile() };
        let found =
            |stages, confirm| difference(&profile, &files(stages, confirm), &profile.machine);
        assert_eq!(found(["AA", "bb"], Some("cc")), None);
        assert_eq!(found(["aa", "bb"], None), None, "a bundle whose confirm network is turned off");
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
