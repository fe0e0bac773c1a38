//! A scorer on a device: blocks of rows, several in flight.
//!
//! A block has memory of its own (a [`Slot`]) for what the host writes and reads, so that the next
//! can be sent while it is scored and the last one's answer is used. What only the device sees, the
//! logits, is shared: its commands run in order.

mod receive;

use std::collections::VecDeque;

use bytemuck::cast_slice;
use equipoise_core::engine::{
    Answer, LogitError, Nearest, NearestGradient, Precision, Question, RowKey, Tolerance,
};
use equipoise_core::{Candidate, Chunk, Error, Head, Pool, RowSet, RowStatistics, Scorer};
use wgpu::{Buffer, CommandEncoder, MapMode, SubmissionIndex};

use crate::block::{Block, From, Slot, bits, place};
use crate::centres::Centres;
use crate::device::{Growing, Mapping};
use crate::head::HeadBuffers;
use crate::kernels::Values;
use crate::kernels::class_candidates::{Lists, list_bytes};
use crate::kernels::logits::{Arguments, Path};
use crate::kernels::row_keys::RowKeys;
use crate::kernels::row_statistics::Rows;
use crate::parts::OnDevice;
use crate::plan::Plan;
use crate::row_variants::RowKernels;
use crate::{GpuEngine, GpuError};

/// Blocks in flight: one is sent, one is scored, one's answer is used.
pub(crate) const DEPTH: usize = 3;

/// Most candidates that come back with their number; more take another round trip.
pub(crate) const PREFIX: usize = 1 << 16;

/// Least candidates that come back with their number: fewer save no time.
const LEAST_PREFIX: usize = 1 << 9;

/// The class of a list entry that says that its row holds a NaN or an infinity.
const NONFINITE_ROW: u32 = equipoise_shaders::class_candidates_plain::NONFINITE_ROW;

pub(crate) struct GpuScorer<'a> {
    engine: &'a GpuEngine,
    pool: &'a dyn Pool,
    classes: usize,
    dim: usize,
    tolerance: Tolerance,
    plan: Plan,
    /// How logits are computed.
    path: Path,
    kernels: &'a RowKernels,
    head: HeadBuffers,
    /// The pool's parts on the device; without them it is streamed.
    on_device: Option<OnDevice<'a>>,
    logits: Growing,
    /// Those of [`Question::NearestGradient`].
    pub(crate) centres: Option<Centres>,
    /// Of the score last asked for.
    keys: Option<RowKeys>,
    /// Candidates that come back with their number: somewhat more than the last blocks yielded.
    prefix: usize,
    /// The last block's, as they came.
    found: Vec<Candidate>,
    /// Slots of no block.
    free: Vec<Slot>,
    flying: VecDeque<Flying>,
}

/// A block whose commands are submitted.
struct Flying {
    slot: Slot,
    start: usize,
    rows: usize,
    form: Form,
    readback: Buffer,
    bytes: u64,
    mapping: Mapping,
    submission: SubmissionIndex,
}

/// What comes back.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// A record for each row.
    Statistics,
    /// A record for each row.
    Keys,
    /// A record for each row.
    Nearest,
    /// A record for each row.
    NearestGradient,
    /// A list of candidates, and how many it holds at most.
    Candidates(usize),
}

impl<'a> GpuScorer<'a> {
    pub(crate) fn new(
        engine: &'a GpuEngine,
        head: &Head,
        pool: &'a dyn Pool,
        plan: Plan,
        (path, kernels): (Path, &'a RowKernels),
        buffers: HeadBuffers,
        on_device: Option<OnDevice<'a>>,
    ) -> Self {
        let bound = path.bound(head.dim());
        Self {
            engine,
            pool,
            classes: head.classes(),
            dim: head.dim(),
            tolerance: Tolerance::new(
                head,
                LogitError {
                    gamma: bound.gamma,
                    flushed: bound.flushed,
                },
            ),
            plan,
            path,
            kernels,
            head: buffers,
            on_device,
            logits: Growing::storage("logits"),
            centres: None,
            keys: None,
            prefix: PREFIX,
            found: Vec::new(),
            free: Vec::new(),
            flying: VecDeque::new(),
        }
    }

    /// The block of at most `rows` rows from `start` on.
    fn block(&self, start: usize, rows: usize) -> equipoise_core::Result<Block<'a>> {
        let rows = rows.min(self.max_rows());
        if let Some(on_device) = &self.on_device {
            return Ok(on_device.block(self.dim, start, rows, self.max_rows()));
        }
        let Chunk { values, .. } = self.pool.chunk(start, rows)?;
        let rows = values.len() / self.dim;
        self.pool.prefetch(start + rows, rows * DEPTH);
        Ok(Block {
            start,
            wanted: start,
            rows,
            from: From::Host(values),
        })
    }

    /// Records and submits a block's commands.
    fn send(
        &mut self,
        mut slot: Slot,
        block: &Block<'_>,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<Flying, GpuError> {
        let engine = self.engine;
        let context = &engine.context;
        let mut encoder = context.encoder("block");
        let (values, norms, first_norm) = place(engine, self.dim, block, &mut slot, &mut encoder)?;
        let bytes = 4 * values.rows as u64 * self.classes as u64;
        let logits = self.logits.at_least(context, bytes).clone();
        let arguments = Arguments {
            values: values.borrow(),
            classes: self.classes as u32,
            logits: &logits,
        };
        for weights in &self.head.head {
            self.path.record(context, &mut encoder, weights, arguments);
        }
        let bits = bits(block, available);
        let mask = slot
            .available
            .at_least(context, 4 * bits.len() as u64)
            .clone();
        context.write(&mask, cast_slice(&bits));
        let rows = Rows {
            rows: block.rows as u32,
            classes: self.classes as u32,
            groups: engine.sizes.groups,
            tolerance: self.tolerance,
            logits: &logits,
            norms: &norms,
            first_norm,
            available: &mask,
        };
        let values = values.borrow();
        let (form, bytes) = self.ask(&mut slot, &mut encoder, (values, rows), question)?;
        let results = slot.results.at_least(context, bytes).clone();
        let readback = slot.readback.at_least(context, bytes).clone();
        encoder.copy_buffer_to_buffer(&results, 0, &readback, 0, bytes);
        let submission = context.queue.submit([encoder.finish()]);
        Ok(Flying {
            slot,
            start: block.start,
            rows: block.rows,
            form,
            mapping: context.map(&readback, bytes, MapMode::Read),
            readback,
            bytes,
            submission,
        })
    }

    /// Records the row kernel; returns what comes back, and the bytes of it to read.
    fn ask(
        &mut self,
        slot: &mut Slot,
        encoder: &mut CommandEncoder,
        (values, rows): (Values<'_>, Rows<'_>),
        question: Question<'_>,
    ) -> Result<(Form, u64), GpuError> {
        let (context, kernels) = (&self.engine.context, self.kernels);
        Ok(match question {
            // Exponentials cost a GPU next to nothing.
            Question::RowStatistics { .. } => {
                let bytes = u64::from(rows.rows) * size_of::<RowStatistics>() as u64;
                let results = slot.results.at_least(context, bytes).clone();
                for slice in &self.head.scales {
                    let kernel = &kernels.row_statistics;
                    kernel.record(context, encoder, slice, rows, &results);
                }
                (Form::Statistics, bytes)
            }
            Question::RowKeys { score } => {
                let bytes = u64::from(rows.rows) * size_of::<RowKey>() as u64;
                let results = slot.results.at_least(context, bytes).clone();
                if self.keys.as_ref().is_none_or(|keys| !keys.is_of(score)) {
                    self.keys = Some(RowKeys::new(context, score)?);
                }
                if let Some(keys) = &self.keys {
                    keys.record(context, encoder, rows, &results);
                }
                (Form::Keys, bytes)
            }
            Question::Nearest => {
                let bytes = u64::from(rows.rows) * size_of::<Nearest>() as u64;
                let results = slot.results.at_least(context, bytes).clone();
                kernels.nearest.record(context, encoder, rows, &results);
                (Form::Nearest, bytes)
            }
            Question::NearestGradient => {
                let bytes = u64::from(rows.rows) * size_of::<NearestGradient>() as u64;
                let results = slot.results.at_least(context, bytes).clone();
                if let Some(centres) = &mut self.centres {
                    centres.record(self.engine, kernels, encoder, (values, rows), &results);
                }
                (Form::NearestGradient, bytes)
            }
            Question::ClassCandidates { thresholds } => {
                let most = self.plan.capacity.min(rows.rows as usize * self.classes);
                let found = slot.results.at_least(context, list_bytes(most)).clone();
                let bytes = size_of_val(thresholds) as u64;
                let limits = slot.thresholds.at_least(context, bytes).clone();
                context.write(&limits, cast_slice(thresholds));
                encoder.clear_buffer(&found, 0, Some(4));
                let lists = Lists {
                    thresholds: &limits,
                    found: &found,
                    capacity: most as u32,
                };
                for slice in &self.head.scales {
                    let kernel = &kernels.class_candidates;
                    kernel.record(context, encoder, slice, rows, lists);
                }
                (Form::Candidates(most), list_bytes(most.min(self.prefix)))
            }
        })
    }

    /// Forgets the memory, of which parts may not have been made.
    fn failed(&mut self, error: GpuError) -> Error {
        self.flying.clear();
        self.free.clear();
        self.logits = Growing::storage("logits");
        error.on(&self.engine.name)
    }
}

impl Scorer for GpuScorer<'_> {
    fn max_rows(&self) -> usize {
        self.plan.max_rows
    }

    fn depth(&self) -> usize {
        DEPTH
    }

    fn precision(&self) -> Precision {
        // WGSL's accuracies: operations are correctly rounded, in either direction, and exp is
        // within 3 + 2|x| ULP.
        Precision {
            unit: 1.0 / f64::from(1 << 23),
            exp_constant: 3.0,
            exp_slope: 2.0,
        }
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> equipoise_core::Result<usize> {
        if let Question::ClassCandidates { thresholds } = question
            && thresholds.len() != self.classes
        {
            return Err(Error::Shape {
                what: "thresholds".into(),
                expected: self.classes.to_string(),
                found: thresholds.len().to_string(),
            });
        }
        let block = self.block(start, rows)?;
        let slot = self.free.pop().unwrap_or_else(Slot::new);
        let context = &self.engine.context;
        let sent = context.guarded(|| self.send(slot, &block, available, question));
        let flying = sent.map_err(|error| self.failed(error))?;
        self.flying.push_back(flying);
        Ok(block.start + block.rows - start)
    }

    fn collect(&mut self, answer: &mut Answer) -> equipoise_core::Result<()> {
        let Some(flying) = self.flying.pop_front() else {
            *answer = Answer::default();
            return Ok(());
        };
        let context = &self.engine.context;
        let received = context.guarded(|| self.receive(flying, answer));
        let slot = received.map_err(|error| self.failed(error))?;
        self.free.push(slot);
        Ok(())
    }

    fn discard(&mut self) {
        let mut answer = Answer::default();
        while !self.flying.is_empty() {
            // A failure empties it.
            let _ = self.collect(&mut answer);
        }
    }
}
