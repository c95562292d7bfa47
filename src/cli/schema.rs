//! `dorfman schema`: prints JSON Schemas and the example configuration.

use clap::{Args, ValueEnum};
use dorfman_model::Profile;
use dorfman_model::manifest::Manifest;
use schemars::schema_for;

use super::CliError;
use crate::config::Config;
use crate::message::ReferenceMessage;
use crate::sink::message::{DeadLetterRecord, FlagRecord, VerdictRecord};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// What to print.
    #[arg(value_enum, default_value_t = Subject::Config)]
    subject: Subject,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Subject {
    /// The configuration file.
    Config,
    /// Every key of the configuration with its default, as a commented YAML file.
    Example,
    /// The manifest of a bundle (bundle.json).
    Bundle,
    /// A profile, as `dorfman profile` writes it.
    Profile,
    /// A message in the source topic (JSON format).
    Reference,
    /// A record in the flagged topic.
    Flag,
    /// A record in the verdicts topic.
    Verdict,
    /// A record in the dead-letter topic.
    DeadLetter,
}

pub(super) fn run(args: &SchemaArgs) -> Result<(), CliError> {
    let schema = match args.subject {
        Subject::Config => Config::schema(),
        Subject::Example => {
            print!("{}", Config::example());
            return Ok(());
        }
        Subject::Bundle => schema_for!(Manifest).to_value(),
        Subject::Profile => schema_for!(Profile).to_value(),
        Subject::Reference => schema_for!(ReferenceMessage).to_value(),
        Subject::Flag => schema_for!(FlagRecord).to_value(),
        Subject::Verdict => schema_for!(VerdictRecord).to_value(),
        Subject::DeadLetter => schema_for!(DeadLetterRecord).to_value(),
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(())
}
