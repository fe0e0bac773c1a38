//! L-BFGS (Nocedal and Wright, *Numerical Optimization*, algorithms 7.4 and 7.5) with a line search
//! for the strong Wolfe conditions (3.5 and 3.6, by bisection).
//!
//! Why not a crate's: burn's keeps parameters in modules of f32 and every row's activations for its
//! gradient; argmin's draws in random number generators and changes the features of what burn
//! is built on. Ours is small, in float64, and its order of additions is fixed.

use std::collections::VecDeque;

/// Steps remembered.
const MEMORY: usize = 10;

/// Converged where no part of the gradient is larger. The loss is a mean over rows of standardised
/// numbers, so that this is far below what accuracy or distances show.
const TOLERANCE: f64 = 1e-6;

/// Sufficient decrease (Armijo).
const DECREASE: f64 = 1e-4;

/// Sufficient flattening (curvature).
const FLATTENING: f64 = 0.9;

/// Evaluations of one line search.
const TRIALS: usize = 30;

/// A differentiable function.
pub(crate) trait Function {
    /// Value and gradient.
    fn evaluate(&self, parameters: &[f64]) -> (f64, Vec<f64>);
}

/// Where a minimisation ended.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) parameters: Vec<f64>,
    pub(crate) steps: usize,
    /// Whether the gradient is below the tolerance or float64 finds nothing lower.
    pub(crate) converged: bool,
}

/// A step and the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// 1 / (step · change)
    inverse: f64,
}

/// Minimises `function` from `start` in at most `steps` steps.
pub(crate) fn minimise(function: &impl Function, start: Vec<f64>, steps: usize) -> Found {
    let mut at = start;
    let (mut value, mut gradient) = function.evaluate(&at);
    let mut memory: VecDeque<Pair> = VecDeque::with_capacity(MEMORY + 1);
    for taken in 0..steps {
        if gradient.iter().all(|g| g.abs() <= TOLERANCE) {
            return Found {
                parameters: at,
                steps: taken,
                converged: true,
            };
        }
        let mut direction = descent(&gradient, &memory);
        if dot(&direction, &gradient) >= 0.0 {
            memory.clear();
            direction = gradient.iter().map(|g| -g).collect();
        }
        // Without memory the gradient's length says nothing about the step's.
        let first = match memory.is_empty() {
            true => 1.0 / dot(&gradient, &gradient).sqrt().max(1.0),
            false => 1.0,
        };
        let Some(next) = search(function, &at, value, &gradient, &direction, first) else {
            return Found {
                parameters: at,
                steps: taken,
                converged: true,
            };
        };
        let change: Vec<f64> = difference(&next.gradient, &gradient);
        let step: Vec<f64> = difference(&next.at, &at);
        let curvature = dot(&step, &change);
        if curvature > 0.0 {
            memory.push_back(Pair {
                step,
                change,
                inverse: 1.0 / curvature,
            });
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (at, value, gradient) = (next.at, next.value, next.gradient);
    }
    Found {
        converged: gradient.iter().all(|g| g.abs() <= TOLERANCE),
        parameters: at,
        steps,
    }
}

/// The two-loop recursion: minus the remembered inverse Hessian times the gradient.
fn descent(gradient: &[f64], memory: &VecDeque<Pair>) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let alpha = pair.inverse * dot(&pair.step, &q);
        add(&mut q, -alpha, &pair.change);
        alphas.push(alpha);
    }
    if let Some(last) = memory.back() {
        let scale = 1.0 / (last.inverse * dot(&last.change, &last.change));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (pair, alpha) in memory.iter().zip(alphas.iter().rev()) {
        let beta = pair.inverse * dot(&pair.change, &q);
        add(&mut q, alpha - beta, &pair.step);
    }
    q.iter_mut().for_each(|q| *q = -*q);
    q
}

/// A point the line search tried.
struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A point along `direction` that meets the strong Wolfe conditions, or the lowest one tried that is
/// below `value`; `None` where there is none.
fn search(
    function: &impl Function,
    at: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
    first: f64,
) -> Option<Point> {
    let slope = dot(gradient, direction);
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut length = first;
    let mut lowest: Option<Point> = None;
    for _ in 0..TRIALS {
        let mut tried = at.to_vec();
        add(&mut tried, length, direction);
        let (there, gradient) = function.evaluate(&tried);
        let inclination = dot(&gradient, direction);
        let enough = there <= value + DECREASE * length * slope;
        let flat = inclination.abs() <= -FLATTENING * slope;
        let below = lowest.as_ref().map_or(value, |point| point.value);
        // Not-a-number is never below.
        if there < below || (enough && flat) {
            lowest = Some(Point {
                at: tried,
                value: there,
                gradient,
            });
        }
        if enough && flat {
            return lowest;
        }
        if !enough || inclination > 0.0 {
            high = length;
        } else {
            low = length;
        }
        length = match high.is_finite() {
            true => (low + high) / 2.0,
            false => length * 2.0,
        };
    }
    lowest
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `to` += `scale` · `from`
fn add(to: &mut [f64], scale: f64, from: &[f64]) {
    to.iter_mut()
        .zip(from)
        .for_each(|(to, from)| *to += scale * from);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley in pairs of dimensions; its minimum, 0, is at 1 everywhere.
    struct Valley;

    impl Function for Valley {
        fn evaluate(&self, at: &[f64]) -> (f64, Vec<f64>) {
            let mut value = 0.0;
            let mut gradient = Vec::new();
            for pair in at.chunks_exact(2) {
                let (x, y) = (pair[0], pair[1]);
                value += (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
                gradient.push(-2.0 * (1.0 - x) - 400.0 * x * (y - x * x));
                gradient.push(200.0 * (y - x * x));
            }
            (value, gradient)
        }
    }

    #[test]
    fn the_valley_s_bottom_is_found() {
        let start = [-1.2, 1.0].repeat(5);
        let found = minimise(&Valley, start, 200);
        assert!(found.converged);
        for x in &found.parameters {
            assert!((x - 1.0).abs() < 1e-4, "{:?}", found.parameters);
        }
    }

    #[test]
    fn the_minimum_stays_where_it_is() {
        let found = minimise(&Valley, vec![1.0; 4], 10);
        assert_eq!((found.steps, found.converged), (0, true));
    }
}
