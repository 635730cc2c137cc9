//! The part of `onnx.proto` a [`super::Graph`] needs, and the graph written as it. Field numbers are those of ONNX 1.12
//! (opset 17, IR 8), the oldest that every executor we use reads.

use prost::Message;

use super::{Attribute, Constant, Dim, Element, Graph, Value};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const BFLOAT16: i32 = 16;
/// `AttributeProto.AttributeType`.
const ATTRIBUTE_INT: i32 = 2;
const ATTRIBUTE_STRING: i32 = 3;
const ATTRIBUTE_INTS: i32 = 7;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DimensionProto {
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum DimensionValue {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    #[prost(string, tag = "2")]
    Named(String),
}

pub(super) const fn data_type(element: Element) -> i32 {
    match element {
        Element::F32 => FLOAT,
        Element::Bf16 => BFLOAT16,
    }
}

/// The bytes of an `.onnx` file.
pub(super) fn encode(graph: &Graph) -> Vec<u8> {
    model(graph).encode_to_vec()
}

fn model(graph: &Graph) -> ModelProto {
    let info = |value: &Value| ValueInfoProto {
        name: value.name.clone(),
        kind: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: data_type(value.element),
                shape: Some(ShapeProto {
                    dim: value.shape.iter().map(dimension).collect(),
                }),
            }),
        }),
    };
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "maskcast".to_owned(),
        graph: Some(GraphProto {
            name: graph.name.clone(),
            node: graph.nodes.iter().map(|node| self::node(graph, node)).collect(),
            initializer: graph
                .initializers
                .iter()
                .map(|(name, constant)| tensor(name, constant))
                .collect(),
            input: graph.inputs.iter().map(|&t| info(graph.value(t))).collect(),
            output: graph.outputs.iter().map(|&t| info(graph.value(t))).collect(),
        }),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
    }
}

fn tensor(name: &str, constant: &Constant) -> TensorProto {
    let (shape, data_type, raw_data) = match constant {
        Constant::F32(array) => {
            let bytes = array.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (&array.shape, FLOAT, bytes)
        }
        Constant::I8 { shape, values } => (shape, INT8, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        Constant::U8 { shape, values } => (shape, UINT8, values.clone()),
    };
    TensorProto {
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type,
        name: name.to_owned(),
        raw_data,
    }
}

fn dimension(dim: &Dim) -> DimensionProto {
    let value = match dim {
        Dim::Fixed(n) => DimensionValue::Fixed(*n as i64),
        Dim::Named(name) => DimensionValue::Named((*name).to_owned()),
    };
    DimensionProto { value: Some(value) }
}

fn node(graph: &Graph, node: &super::Node) -> NodeProto {
    NodeProto {
        input: node.inputs.clone(),
        output: vec![graph.value(node.output).name.clone()],
        name: node.name.clone(),
        op_type: node.op.to_owned(),
        attribute: node
            .attributes
            .iter()
            .map(|(name, value)| attribute(name, value))
            .collect(),
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let base = AttributeProto {
        name: name.to_owned(),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Int(i) => AttributeProto {
            i: *i,
            kind: ATTRIBUTE_INT,
            ..base
        },
        Attribute::Ints(ints) => AttributeProto {
            ints: ints.clone(),
            kind: ATTRIBUTE_INTS,
            ..base
        },
        Attribute::Text(s) => AttributeProto {
            s: s.as_bytes().to_vec(),
            kind: ATTRIBUTE_STRING,
            ..base
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Array, Dim, Graph};
    use super::*;

    #[test]
    fn bytes_read_back_as_the_same_model() {
        let mut g = Graph::new("tiny");
        let x = g.input("x", &[Dim::Named("n"), Dim::Fixed(2)]).unwrap();
        let w = Array::new(vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let b = Array::new(vec![3], vec![0.0, -1.0, 0.5]).unwrap();
        let y = g.linear("fc", x, w, b).unwrap();
        g.output("y", y).unwrap();

        let read = ModelProto::decode(g.to_onnx().as_slice()).unwrap();
        assert_eq!(read, model(&g));
        let graph = read.graph.unwrap();
        assert_eq!(graph.node[0].op_type, "Gemm");
        assert_eq!(graph.node[0].input, ["x", "fc.weight", "fc.bias"]);
        // constants stand in the order of their names: fc.bias, fc.weight
        assert_eq!(graph.initializer[1].dims, [3, 2]);
        assert_eq!(graph.initializer[1].raw_data[4..8], 2f32.to_le_bytes());
        let shape = graph.input[0].kind.clone().unwrap().tensor_type.unwrap().shape.unwrap();
        assert_eq!(shape.dim[0].value, Some(DimensionValue::Named("n".to_owned())));
        assert_eq!(read.opset_import[0].version, 17);
    }
}
