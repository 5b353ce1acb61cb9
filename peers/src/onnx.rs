//! A case as an ONNX model: one `LSTM` or `GRU` node with its weights.
//!
//! ONNX has the gates in another order, i, o, f, c and z, r, h, and both biases in one tensor. `linear_before_reset` is
//! what makes its GRU PyTorch's.

use anyhow::{Result, bail};
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};
use wgpu_rnn::Cell;

use crate::case::Case;

/// The model's bytes: `x [T, B, I]` in, `y [T, 1, B, H]` out.
pub fn model(case: &Case) -> Result<Vec<u8>> {
    let (operator, order): (_, &[usize]) = match case.cell {
        Cell::Lstm => ("LSTM", &[0, 3, 1, 2]),
        Cell::Gru => ("GRU", &[1, 0, 2]),
        other => bail!("no ONNX operator for {}", other.name()),
    };
    let (input, hidden) = (case.shape.input, case.shape.hidden);
    let gates = |values: &[f32], width: usize| -> Vec<f32> {
        let gate = |&gate: &usize| values[gate * hidden * width..(gate + 1) * hidden * width].to_vec();
        order.iter().flat_map(gate).collect()
    };
    let biases = [gates(&case.bias_ih, 1), gates(&case.bias_hh, 1)].concat();
    let rows = order.len() * hidden;
    let initializer = vec![
        tensor("W", &[1, rows, input], &gates(&case.weight_ih, input)),
        tensor("R", &[1, rows, hidden], &gates(&case.weight_hh, hidden)),
        tensor("B", &[1, 2 * rows], &biases),
    ];
    let mut attribute = vec![integer("hidden_size", hidden as i64)];
    if case.cell == Cell::Gru {
        attribute.push(integer("linear_before_reset", 1));
    }
    let node = NodeProto {
        name: "layer".to_string(),
        op_type: operator.to_string(),
        input: ["x", "W", "R", "B"].map(str::to_string).to_vec(),
        output: vec!["y".to_string()],
        attribute,
        ..NodeProto::default()
    };
    let (steps, batch) = (case.shape.steps, case.shape.batch);
    let graph = GraphProto {
        name: "case".to_string(),
        node: vec![node],
        initializer,
        input: vec![value("x", &[steps, batch, input])],
        output: vec![value("y", &[steps, 1, batch, hidden])],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 14 }],
        producer_name: "peers".to_string(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

fn tensor(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_string(),
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: DataType::Float as i32,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    let r#type = attribute_proto::AttributeType::Int as i32;
    AttributeProto { name: name.to_string(), i: value, r#type, ..AttributeProto::default() }
}

fn value(name: &str, dims: &[usize]) -> ValueInfoProto {
    let dim = |&dim: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(dim as i64)),
        ..tensor_shape_proto::Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.to_string(), r#type, ..ValueInfoProto::default() }
}
