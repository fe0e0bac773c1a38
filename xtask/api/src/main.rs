//! Prints the public items of a crate, a line each, from the JSON that rustdoc made of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(json) = std::env::args().nth(1) else {
        eprintln!("error: rustdoc's JSON of which crate?");
        return ExitCode::from(2);
    };
    // Without what derives and auto traits bring, and what every type has.
    let made = public_api::Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match made {
        Ok(api) => {
            print!("{api}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {json}: {error}");
            ExitCode::FAILURE
        }
    }
}
