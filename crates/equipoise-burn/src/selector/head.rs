//! Heads, wherever they come from.

use burn::nn::Linear;
use burn::tensor::Tensor;
use equipoise_core::Head;

use super::rows::caught;
use crate::Error;

/// What a head can be made of. Its C·(M+1) numbers are read to the host, where float64 needs them.
pub trait ToHead {
    /// The head: weight (C, M), bias (C).
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Core`] where shapes do not fit or a number is not finite, [`Error::Device`]
    /// where it cannot be read.
    fn to_head(&self) -> Result<Head, Error>;
}

impl ToHead for Head {
    fn to_head(&self) -> Result<Head, Error> {
        Ok(self.clone())
    }
}

/// burn's weight is (M, C). No bias means zeros.
impl ToHead for Linear {
    fn to_head(&self) -> Result<Head, Error> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        let weight = self.weight.val();
        let device = format!("{:?}", weight.device());
        head(caught(&device, || Ok(weight.transpose()))?, bias)
    }
}

/// Weight (C, M) and bias (C).
impl ToHead for (Tensor<2>, Tensor<1>) {
    fn to_head(&self) -> Result<Head, Error> {
        head(self.0.clone(), Some(self.1.clone()))
    }
}

/// Weight (C, M); the bias is zeros.
impl ToHead for Tensor<2> {
    fn to_head(&self) -> Result<Head, Error> {
        head(self.clone(), None)
    }
}

fn head(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Result<Head, Error> {
    let [classes, dim] = weight.dims();
    let bias = match bias {
        Some(bias) => numbers(bias)?,
        None => vec![0.0; classes],
    };
    if bias.len() != classes {
        return Err(Error::Shape {
            what: "biases of the head",
            expected: classes.to_string(),
            found: bias.len().to_string(),
        });
    }
    Ok(Head::new(numbers(weight)?, bias, dim)?)
}

/// A tensor's numbers on the host.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    let device = format!("{:?}", tensor.device());
    caught(&device, || {
        let data = tensor.without_autodiff().try_into_data();
        let data = data.map_err(|error| format!("{error:?}"))?;
        data.try_into_vec_as().map_err(|error| format!("{error:?}"))
    })
}
