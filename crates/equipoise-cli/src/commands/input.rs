//! One selection's question with everything that its files hold.

use equipoise::core::Request;
use equipoise::core::strategies::MEMORY;
use equipoise::pool::EmbeddingPool;

use super::machine::{Machine, Need};
use super::question::{Files, Question};
use super::strategy_options::{Options, Truth};
use crate::console::Console;
use crate::failure::Result;

/// See the module.
pub(crate) struct Input<'a> {
    pub question: &'a Question,
    options: &'a Options,
    seed: u64,
    pub files: Files<'a>,
    /// For oracles.
    pub truth: Option<Truth>,
}

impl<'a> Input<'a> {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one cannot be read, or does not fit the others.
    pub(crate) fn read(
        question: &'a Question,
        (options, seed): (&'a Options, u64),
        pool: &'a EmbeddingPool,
        console: Console,
    ) -> Result<Self> {
        let files = question.read(pool, console)?;
        Ok(Self {
            truth: options.read_truth(question, &files)?,
            question,
            options,
            seed,
            files,
        })
    }

    /// What the strategy is asked, to take so much memory for what is faster with more.
    pub(crate) fn request(&self, memory: u64) -> Request<'_> {
        let request = Request {
            seed: self.seed,
            memory,
            ..self.files.request(self.question)
        };
        self.options.applied(request, self.truth.as_ref())
    }

    /// What the selection takes beside the engine on a machine, and the shape that an engine plans for; none where there is no
    /// scan.
    ///
    /// # Errors
    /// Where the request is wrong.
    pub(crate) fn need(&self, machine: &Machine) -> Result<Option<Need>> {
        let strategy = self.question.strategy;
        let named = |error| self.question.name_row(error, self.files.pool);
        let allowances = machine.allowances().into_iter();
        let bytes = allowances.map(|memory| strategy.memory(&self.request(memory)));
        let bytes = bytes.collect::<Result<_, _>>().map_err(named)?;
        let shape = strategy.scan_shape(&self.request(MEMORY)).map_err(named)?;
        Ok(shape.map(|shape| Need { shape, bytes }))
    }
}
