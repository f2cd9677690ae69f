//! The network: embeddings, layers of attention, a score for each label.
//!
//! BERT and its relatives are one network with small differences, so they are one here; `candle-transformers` has a module
//! for each, among some hundred and twenty other models, and for most without what classifies tokens. Names of tensors
//! are those of Hugging Face's `transformers`. Papers: BERT (arXiv:1810.04805), RoBERTa (1907.11692), DistilBERT
//! (1910.01108), ELECTRA (2003.10555), DeBERTa (2006.03654).

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, Module, VarBuilder, ops};

use crate::config::{Activation, Config, Deberta, Family};

/// What is added to the score of a place that is only padding.
const MASKED: f32 = -1e9;

pub(crate) struct Encoder {
    words: Embedding,
    positions: Option<Embedding>,
    types: Option<Embedding>,
    norm: LayerNorm,
    widen: Option<Linear>,
    widens_first: bool,
    layers: Vec<Layer>,
    distances: Option<Tensor>,
    classifier: Linear,
    first_position: usize,
    deberta: Deberta,
    device: Device,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    position_key: Option<Linear>,
    position_query: Option<Linear>,
    heads: usize,
    output: Linear,
    output_norm: LayerNorm,
    inner: Linear,
    activation: Activation,
    outer: Linear,
    outer_norm: LayerNorm,
}

/// What the tensors of a layer are called.
struct Names {
    model: &'static str,
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    output_norm: &'static str,
    inner: &'static str,
    outer: &'static str,
    outer_norm: &'static str,
}

const BERT: Names = Names {
    model: "bert",
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    output_norm: "attention.output.LayerNorm",
    inner: "intermediate.dense",
    outer: "output.dense",
    outer_norm: "output.LayerNorm",
};

impl Family {
    fn names(self) -> Names {
        match self {
            Self::Bert => BERT,
            Self::Electra => Names { model: "electra", ..BERT },
            Self::Roberta => Names { model: "roberta", ..BERT },
            Self::DebertaV2 => Names {
                model: "deberta",
                query: "attention.self.query_proj",
                key: "attention.self.key_proj",
                value: "attention.self.value_proj",
                ..BERT
            },
            Self::DistilBert => Names {
                model: "distilbert",
                layers: "transformer.layer",
                query: "attention.q_lin",
                key: "attention.k_lin",
                value: "attention.v_lin",
                output: "attention.out_lin",
                output_norm: "sa_layer_norm",
                inner: "ffn.lin1",
                outer: "ffn.lin2",
                outer_norm: "output_layer_norm",
            },
        }
    }
}

fn linear(inputs: usize, outputs: usize, vb: &VarBuilder<'_>, name: &str) -> Result<Linear> {
    let vb = vb.pp(name);
    Ok(Linear::new(vb.get((outputs, inputs), "weight")?, Some(vb.get(outputs, "bias")?)))
}

fn norm(size: usize, epsilon: f64, vb: &VarBuilder<'_>, name: &str) -> Result<LayerNorm> {
    let vb = vb.pp(name);
    // What was converted from TensorFlow has these names.
    let (weight, bias) = if vb.contains_tensor("gamma") { ("gamma", "beta") } else { ("weight", "bias") };
    Ok(LayerNorm::new(vb.get(size, weight)?, vb.get(size, bias)?, epsilon))
}

fn embedding(count: usize, size: usize, vb: &VarBuilder<'_>, name: &str) -> Result<Embedding> {
    Ok(Embedding::new(vb.pp(name).get((count, size), "weight")?, size))
}

impl Encoder {
    /// Reads the weights, all as `f32`, whatever they are stored as.
    pub(crate) fn load(config: &Config, safetensors: Vec<u8>) -> Result<Self> {
        let device = Device::Cpu;
        let root = VarBuilder::from_buffered_safetensors(safetensors, DType::F32, &device)?;
        let names = config.family.names();
        let (hidden, narrow) = (config.hidden, config.embedding);
        let vb = root.pp(names.model);
        let own = vb.pp("embeddings");
        let positioned = config.family != Family::DebertaV2 || config.deberta.position_biased;
        let positions = positioned.then(|| embedding(config.positions, narrow, &own, "position_embeddings"));
        let types = (config.types > 0).then(|| embedding(config.types, narrow, &own, "token_type_embeddings"));
        let (normed, widen) = match config.family {
            // ELECTRA widens what is normed, DeBERTa norms what is widened.
            Family::Electra if narrow != hidden => (narrow, Some(linear(narrow, hidden, &vb, "embeddings_project")?)),
            Family::DebertaV2 if narrow != hidden => {
                (hidden, Some(Linear::new(own.get((hidden, narrow), "embed_proj.weight")?, None)))
            }
            _ => (hidden, None),
        };
        let distances = if config.deberta.relative {
            let table = vb.get((2 * config.deberta.span(), hidden), "encoder.rel_embeddings.weight")?;
            let normed = config.deberta.normed;
            Some(if normed { norm(hidden, config.epsilon, &vb, "encoder.LayerNorm")?.forward(&table)? } else { table })
        } else {
            None
        };
        let layers = (0..config.layers).map(|number| Layer::load(config, &names, &vb.pp(names.layers).pp(number)));
        Ok(Self {
            words: embedding(config.vocabulary, narrow, &own, "word_embeddings")?,
            positions: positions.transpose()?,
            types: types.transpose()?,
            norm: norm(normed, config.epsilon, &own, "LayerNorm")?,
            widen,
            widens_first: config.family == Family::DebertaV2,
            layers: layers.collect::<Result<_>>()?,
            distances,
            classifier: linear(hidden, config.labels.len(), &root, "classifier")?,
            first_position: config.first_position,
            deberta: config.deberta.clone(),
            device,
        })
    }

    /// The scores of each label (texts × tokens × labels), for tokens and which of them are text, by row. All rows are of
    /// one length, and the padding stands at their ends.
    pub(crate) fn logits(&self, ids: &[Vec<u32>], real: &[usize]) -> Result<Vec<Vec<Vec<f32>>>> {
        let length = ids.first().map_or(0, Vec::len);
        let shape = (ids.len(), length);
        let tokens = Tensor::from_vec(ids.concat(), shape, &self.device)?;
        let mask: Vec<f32> =
            real.iter().flat_map(|&real| (0..length).map(move |at| if at < real { 0.0 } else { MASKED })).collect();
        let mask = Tensor::from_vec(mask, (ids.len(), 1, 1, length), &self.device)?;
        let mut states = self.words.forward(&tokens)?;
        if let Some(positions) = &self.positions {
            let first = self.first_position as u32;
            let numbers = Tensor::arange(first, first + length as u32, &self.device)?;
            states = states.broadcast_add(&positions.forward(&numbers)?)?;
        }
        if let Some(types) = &self.types {
            states = states.broadcast_add(&types.embeddings().narrow(0, 0, 1)?)?;
        }
        match &self.widen {
            Some(widen) if self.widens_first => states = self.norm.forward(&widen.forward(&states)?)?,
            Some(widen) => states = widen.forward(&self.norm.forward(&states)?)?,
            None => states = self.norm.forward(&states)?,
        }
        let apart = match &self.distances {
            Some(_) => Some(self.apart(length)?),
            None => None,
        };
        for layer in &self.layers {
            let distances = self.distances.as_ref().zip(apart.as_ref());
            states = layer.forward(&states, &mask, distances, &self.deberta)?;
        }
        self.classifier.forward(&states)?.to_vec3()
    }

    /// For each pair of places, which of the distances theirs is; and the same from the other's side.
    fn apart(&self, length: usize) -> Result<(Tensor, Tensor)> {
        let (span, buckets) = (self.deberta.span() as i64, self.deberta.buckets as i64);
        let limit = |number: i64| number.clamp(0, 2 * span - 1) as u32;
        let mut there = Vec::with_capacity(length * length);
        let mut back = Vec::with_capacity(length * length);
        for from in 0..length as i64 {
            for to in 0..length as i64 {
                let distance = match buckets {
                    0 => from - to,
                    _ => bucket(from - to, buckets, self.deberta.distances as i64),
                };
                there.push(limit(span + distance));
                back.push(limit(span - distance));
            }
        }
        let shape = (1, 1, length, length);
        Ok((Tensor::from_vec(there, shape, &self.device)?, Tensor::from_vec(back, shape, &self.device)?))
    }
}

/// The bucket of a distance: near ones have one each, far ones share, by their logarithm.
fn bucket(distance: i64, buckets: i64, distances_max: i64) -> i64 {
    let near = buckets / 2;
    if distance.abs() <= near || near < 1 {
        return distance;
    }
    let near = near as f64;
    let far = (distance.abs() as f64 / near).ln() / ((distances_max - 1) as f64 / near).ln() * (near - 1.0);
    (far.ceil() as i64 + near as i64) * distance.signum()
}

impl Layer {
    fn load(config: &Config, names: &Names, vb: &VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden, config.intermediate);
        let deberta = &config.deberta;
        let own = |wanted: bool, name: &str| {
            (wanted && !deberta.shares_keys).then(|| linear(hidden, hidden, vb, name)).transpose()
        };
        Ok(Self {
            query: linear(hidden, hidden, vb, names.query)?,
            key: linear(hidden, hidden, vb, names.key)?,
            value: linear(hidden, hidden, vb, names.value)?,
            position_key: own(deberta.content_to_position, "attention.self.pos_key_proj")?,
            position_query: own(deberta.position_to_content, "attention.self.pos_query_proj")?,
            heads: config.heads,
            output: linear(hidden, hidden, vb, names.output)?,
            output_norm: norm(hidden, config.epsilon, vb, names.output_norm)?,
            inner: linear(hidden, inner, vb, names.inner)?,
            activation: config.activation,
            outer: linear(inner, hidden, vb, names.outer)?,
            outer_norm: norm(hidden, config.epsilon, vb, names.outer_norm)?,
        })
    }

    fn forward(
        &self,
        states: &Tensor,
        mask: &Tensor,
        distances: Option<(&Tensor, &(Tensor, Tensor))>,
        deberta: &Deberta,
    ) -> Result<Tensor> {
        let (query, key) = (self.split(&self.query.forward(states)?)?, self.split(&self.key.forward(states)?)?);
        let value = self.split(&self.value.forward(states)?)?;
        let parts = 1 + usize::from(deberta.content_to_position) + usize::from(deberta.position_to_content);
        let scale = 1.0 / ((query.dim(D::Minus1)? * parts) as f64).sqrt();
        let mut scores = query.matmul(&key.t()?)?;
        if let Some((table, (there, back))) = distances {
            let table = table.unsqueeze(0)?;
            let full = |index: &Tensor| index.broadcast_as(scores.shape())?.contiguous();
            let mut relative = Vec::with_capacity(2);
            if deberta.content_to_position {
                let keys = self.split(&self.position_key.as_ref().unwrap_or(&self.key).forward(&table)?)?;
                let by_distance = query.broadcast_matmul(&keys.t()?)?;
                relative.push(by_distance.gather(&full(there)?, D::Minus1)?);
            }
            if deberta.position_to_content {
                let queries = self.split(&self.position_query.as_ref().unwrap_or(&self.query).forward(&table)?)?;
                let by_distance = key.broadcast_matmul(&queries.t()?)?;
                relative.push(by_distance.gather(&full(back)?, D::Minus1)?.t()?);
            }
            for more in relative {
                scores = (scores + more)?;
            }
        }
        let weights = ops::softmax_last_dim(&(scores * scale)?.broadcast_add(mask)?)?;
        let seen = weights.matmul(&value)?.transpose(1, 2)?.contiguous()?.flatten_from(2)?;
        let states = self.output_norm.forward(&(self.output.forward(&seen)? + states)?)?;
        let inner = self.inner.forward(&states)?;
        let inner = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::GeluTanh => inner.gelu()?,
            Activation::Relu => inner.relu()?,
            Activation::Silu => inner.silu()?,
        };
        self.outer_norm.forward(&(self.outer.forward(&inner)? + states)?)
    }

    /// Texts × heads × tokens × the size of a head.
    fn split(&self, states: &Tensor) -> Result<Tensor> {
        let (texts, tokens, hidden) = states.dims3()?;
        states.reshape((texts, tokens, self.heads, hidden / self.heads))?.transpose(1, 2)?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_buckets() {
        // As `make_log_bucket_position` of `transformers` 4.57 gives them, for 8 buckets of 64 distances.
        let expected = [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6];
        for (distance, bucketed) in (0..).zip(expected) {
            assert_eq!(bucket(distance, 8, 64), bucketed, "{distance}");
            assert_eq!(bucket(-distance, 8, 64), -bucketed, "{distance}");
        }
        assert_eq!(bucket(63, 8, 64), 7);
    }
}
