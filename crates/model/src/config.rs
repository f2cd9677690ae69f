//! What a model says of itself: `config.json` in the format of Hugging Face's `transformers`.
//!
//! Nothing here is believed before it was compared with limits: sizes in it decide how much memory is asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::LoadError;

/// So many numbers at most in a model, which take four bytes each.
const PARAMETERS_MAX: usize = 1 << 30;
const VOCABULARY_MAX: usize = 1 << 20;
const HIDDEN_MAX: usize = 8192;
const INTERMEDIATE_MAX: usize = 65_536;
const LAYERS_MAX: usize = 128;
const HEADS_MAX: usize = 256;
const POSITIONS_MAX: usize = 1 << 17;
const LABELS_MAX: usize = 1024;
const LABEL_BYTES_MAX: usize = 80;

/// Which network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// BERT.
    Bert,
    /// BERT, with embeddings that may be narrower than the layers.
    Electra,
    /// BERT with positions that begin after the padding's: RoBERTa, XLM-RoBERTa, CamemBERT.
    Roberta,
    /// BERT with other names, and nothing to tell sentences apart.
    DistilBert,
    /// Attention that knows how far apart words are: DeBERTa v2 and v3.
    DebertaV2,
}

/// The function between a layer's two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
    Silu,
}

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) family: Family,
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) embedding: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) epsilon: f64,
    /// How many places its table of positions has.
    pub(crate) positions: usize,
    /// The number of the first position.
    pub(crate) first_position: usize,
    pub(crate) types: usize,
    pub(crate) pad: u32,
    /// By number.
    pub(crate) labels: Vec<String>,
    pub(crate) deberta: Deberta,
}

/// What only DeBERTa has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deberta {
    /// Positions are also added to the embeddings.
    pub(crate) position_biased: bool,
    pub(crate) relative: bool,
    pub(crate) content_to_position: bool,
    pub(crate) position_to_content: bool,
    pub(crate) shares_keys: bool,
    pub(crate) normed: bool,
    /// Distances beyond which all are the same, and in how many buckets they are counted; 0: one each.
    pub(crate) distances: usize,
    pub(crate) buckets: usize,
}

impl Deberta {
    /// How many distances there are in each direction.
    pub(crate) fn span(&self) -> usize {
        if self.buckets > 0 { self.buckets } else { self.distances }
    }
}

/// `config.json`, as far as it is read.
#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    max_position_embeddings: usize,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    pad_token_id: Option<u32>,
    embedding_size: Option<usize>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    id2label: BTreeMap<String, String>,
    relative_attention: Option<bool>,
    max_relative_positions: Option<i64>,
    position_buckets: Option<i64>,
    position_biased_input: Option<bool>,
    share_att_key: Option<bool>,
    norm_rel_ebd: Option<String>,
    conv_kernel_size: Option<usize>,
    attention_head_size: Option<usize>,
    pos_att_type: Option<Names>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    Joined(String),
    Listed(Vec<String>),
}

impl Names {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Joined(names) => names.split('|').any(|own| own == name),
            Self::Listed(names) => names.iter().any(|own| own == name),
        }
    }
}

impl Config {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|_| {
            LoadError::Config("no configuration of a BERT, DistilBERT, RoBERTa, ELECTRA or DeBERTa-v2 model")
        })?;
        let config = Self::of(raw)?;
        config.check()?;
        Ok(config)
    }

    fn of(raw: Raw) -> Result<Self, LoadError> {
        let family = match &*raw.model_type {
            "bert" => Family::Bert,
            "electra" => Family::Electra,
            "roberta" | "xlm-roberta" | "camembert" => Family::Roberta,
            "distilbert" => Family::DistilBert,
            "deberta-v2" => Family::DebertaV2,
            _ => {
                return Err(LoadError::Config(
                    "`model_type` must be bert, electra, roberta, xlm-roberta, camembert, distilbert or deberta-v2",
                ));
            }
        };
        if raw.position_embedding_type.is_some_and(|own| own != "absolute") {
            return Err(LoadError::Config("`position_embedding_type` must be absolute"));
        }
        let activation = match raw.hidden_act.as_deref() {
            None | Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            Some("silu" | "swish") => Activation::Silu,
            Some(_) => return Err(LoadError::Config("`hidden_act` must be gelu, gelu_new, relu or silu")),
        };
        let pad = raw.pad_token_id.unwrap_or(if family == Family::Roberta { 1 } else { 0 });
        let first_position = if family == Family::Roberta { (pad as usize).saturating_add(1) } else { 0 };
        let deberta = match family {
            Family::DebertaV2 => {
                if raw.conv_kernel_size.unwrap_or(0) > 0 {
                    return Err(LoadError::Config("`conv_kernel_size`: convolutions are not supported"));
                }
                if raw
                    .attention_head_size
                    .is_some_and(|own| own.checked_mul(raw.num_attention_heads) != Some(raw.hidden_size))
                {
                    return Err(LoadError::Config("`attention_head_size` must be the hidden size, by heads"));
                }
                let types = raw.pos_att_type.as_ref();
                let given = usize::try_from(raw.max_relative_positions.unwrap_or(-1)).unwrap_or(0);
                let relative = raw.relative_attention.unwrap_or(false);
                Deberta {
                    position_biased: raw.position_biased_input.unwrap_or(true),
                    relative,
                    content_to_position: relative && types.is_some_and(|types| types.has("c2p")),
                    position_to_content: relative && types.is_some_and(|types| types.has("p2c")),
                    shares_keys: raw.share_att_key.unwrap_or(false),
                    normed: raw.norm_rel_ebd.is_some_and(|own| own.split('|').any(|own| own.trim() == "layer_norm")),
                    distances: if given == 0 { raw.max_position_embeddings } else { given },
                    buckets: usize::try_from(raw.position_buckets.unwrap_or(-1)).unwrap_or(0),
                }
            }
            _ => Deberta::default(),
        };
        let usual_types = match family {
            Family::DistilBert | Family::DebertaV2 => 0,
            Family::Roberta => 1,
            Family::Bert | Family::Electra => 2,
        };
        let types = if family == Family::DistilBert { 0 } else { raw.type_vocab_size.unwrap_or(usual_types) };
        let narrow = matches!(family, Family::Electra | Family::DebertaV2);
        let count = raw.id2label.len();
        let mut labels = Vec::with_capacity(count.min(LABELS_MAX));
        for number in 0..count.min(LABELS_MAX + 1) {
            let label = raw.id2label.get(&number.to_string());
            labels.push(label.cloned().ok_or(LoadError::Config("`id2label` must name labels from 0 on"))?);
        }
        Ok(Self {
            family,
            vocabulary: raw.vocab_size,
            hidden: raw.hidden_size,
            embedding: raw.embedding_size.filter(|_| narrow).unwrap_or(raw.hidden_size),
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            intermediate: raw.intermediate_size,
            activation,
            epsilon: raw.layer_norm_eps.unwrap_or(if family == Family::DebertaV2 { 1e-7 } else { 1e-12 }),
            positions: raw.max_position_embeddings,
            first_position,
            types,
            pad,
            labels,
            deberta,
        })
    }

    fn check(&self) -> Result<(), LoadError> {
        let within = |value: usize, max: usize| (1..=max).contains(&value);
        let sizes = [
            (within(self.vocabulary, VOCABULARY_MAX), "`vocab_size` must be 1 to 1048576"),
            (within(self.hidden, HIDDEN_MAX), "the hidden size must be 1 to 8192"),
            (within(self.embedding, HIDDEN_MAX), "`embedding_size` must be 1 to 8192"),
            (within(self.layers, LAYERS_MAX), "there must be 1 to 128 layers"),
            (within(self.heads, HEADS_MAX), "there must be 1 to 256 attention heads"),
            (within(self.intermediate, INTERMEDIATE_MAX), "the intermediate size must be 1 to 65536"),
            (within(self.positions, POSITIONS_MAX), "`max_position_embeddings` must be 1 to 131072"),
            (self.types <= 16, "`type_vocab_size` must be at most 16"),
            (within(self.deberta.distances.max(1), POSITIONS_MAX), "`max_relative_positions` must be at most 131072"),
            (self.deberta.buckets <= POSITIONS_MAX, "`position_buckets` must be at most 131072"),
            ((self.pad as usize) < self.vocabulary, "`pad_token_id` must be in the vocabulary"),
            (self.epsilon > 0.0 && self.epsilon < 1.0, "`layer_norm_eps` must be between 0 and 1"),
            (within(self.labels.len(), LABELS_MAX), "`id2label` must name 1 to 1024 labels"),
            (
                self.labels.iter().all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len())),
                "a label in `id2label` must have 1 to 80 bytes",
            ),
        ];
        if let Some((_, wrong)) = sizes.iter().find(|(fits, _)| !fits) {
            return Err(LoadError::Config(wrong));
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(LoadError::Config("the hidden size must be a multiple of the attention heads"));
        }
        // With the limits above, none of these products overflows.
        let layer = 4 * self.hidden * self.hidden + 2 * self.hidden * self.intermediate;
        let relative = if self.deberta.relative { 2 * self.deberta.span() * self.hidden } else { 0 };
        let all = (self.vocabulary + self.positions) * self.embedding + self.layers * layer + relative;
        if all > PARAMETERS_MAX {
            return Err(LoadError::Config("a model may have 2^30 parameters at most"));
        }
        Ok(())
    }

    /// How many tokens it can look at together, those that are not text among them.
    pub(crate) fn window_max(&self) -> usize {
        let bounded = self.family != Family::DebertaV2 || self.deberta.position_biased;
        if bounded { self.positions.saturating_sub(self.first_position) } else { usize::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(changes: &[(&str, serde_json::Value)]) -> Result<Config, LoadError> {
        let mut value = serde_json::json!({
            "model_type": "bert", "vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 32,
            "id2label": {"0": "O", "1": "B-PER"},
        });
        for (key, change) in changes {
            value[*key] = change.clone();
        }
        Config::parse(value.to_string().as_bytes())
    }

    #[test]
    fn families_are_told_apart() {
        assert_eq!(parse(&[]).unwrap().window_max(), 32);
        let roberta = parse(&[("model_type", "xlm-roberta".into()), ("pad_token_id", 1.into())]).unwrap();
        assert_eq!((roberta.family, roberta.first_position, roberta.window_max()), (Family::Roberta, 2, 30));
        let distil = Config::parse(
            br#"{"model_type":"distilbert","vocab_size":9,"dim":8,"n_layers":1,"n_heads":2,"hidden_dim":9,
                "max_position_embeddings":8,"activation":"gelu","id2label":{"0":"O"}}"#,
        );
        assert_eq!(distil.unwrap().types, 0);
        let deberta = [
            ("model_type", "deberta-v2".into()),
            ("relative_attention", true.into()),
            ("position_biased_input", false.into()),
            ("position_buckets", 4.into()),
            ("pos_att_type", "p2c|c2p".into()),
        ];
        let deberta = parse(&deberta).unwrap();
        assert!(deberta.deberta.content_to_position && deberta.deberta.position_to_content);
        assert_eq!((deberta.deberta.span(), deberta.window_max()), (4, usize::MAX));
    }

    #[test]
    fn refuses_what_is_absurd() {
        for (key, value) in [
            ("model_type", "gpt2".into()),
            ("vocab_size", (usize::MAX / 2).into()),
            ("vocab_size", 0.into()),
            ("hidden_size", 7.into()),
            ("hidden_size", (1_u64 << 62).into()),
            ("hidden_size", (-1).into()),
            ("num_hidden_layers", 0.into()),
            ("num_hidden_layers", 1_000_000_000.into()),
            ("num_attention_heads", 0.into()),
            ("intermediate_size", (1_u64 << 40).into()),
            ("max_position_embeddings", 0.into()),
            ("pad_token_id", 100.into()),
            ("layer_norm_eps", (-1.0).into()),
            ("hidden_act", "tanhshrink".into()),
            ("position_embedding_type", "relative_key".into()),
            ("id2label", serde_json::json!({})),
            ("id2label", serde_json::json!({"1": "O"})),
            ("id2label", serde_json::json!({"0": "x".repeat(81)})),
        ] {
            assert!(matches!(parse(&[(key, value)]), Err(LoadError::Config(_))), "{key}");
        }
        let large = [("vocab_size", 1_000_000.into()), ("hidden_size", 8192.into())];
        assert!(matches!(parse(&large), Err(LoadError::Config("a model may have 2^30 parameters at most"))));
        for bytes in [&b""[..], b"[]", b"{", b"\xff"] {
            assert!(matches!(Config::parse(bytes), Err(LoadError::Config(_))));
        }
    }
}
