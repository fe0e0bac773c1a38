// What the `peak` kernels are told. They measure a device and compute nothing of use: no twin.

struct PeakParameters {
    // Times that a lane does its work.
    rounds: u32,
    // Elements to copy.
    count: u32,
    // Numbers to compute with, which the compiler cannot know.
    factor: f32,
    summand: f32,
}

const LANES: u32 = 256u;

@group(0) @binding(0) var<uniform> parameters: PeakParameters;
