//! Which attributes the descriptors have, by the numbers of cudnn_graph.h.

pub const HANDLE: u32 = 0;
pub const DATA_TYPE: u32 = 1;
pub const BOOLEAN: u32 = 2;
pub const INT64: u32 = 3;
pub const FLOAT: u32 = 4;
pub const VOID_PTR: u32 = 6;
pub const CONVOLUTION_MODE: u32 = 7;
pub const HEUR_MODE: u32 = 8;
pub const POINTWISE_MODE: u32 = 14;
pub const DESCRIPTOR: u32 = 15;
pub const CHAR: u32 = 24;

/// Bytes of one value of a type.
pub fn size_of_type(kind: u32) -> Option<usize> {
    Some(match kind {
        HANDLE | INT64 | VOID_PTR | DESCRIPTOR => 8,
        DATA_TYPE | FLOAT | CONVOLUTION_MODE | HEUR_MODE | POINTWISE_MODE => 4,
        BOOLEAN | CHAR => 1,
        _ => return None,
    })
}

pub const POINTWISE: u32 = 0;
pub const CONVOLUTION: u32 = 1;
pub const ENGINECFG: u32 = 3;
pub const ENGINEHEUR: u32 = 4;
pub const EXECUTION_PLAN: u32 = 5;
pub const CONV_FORWARD: u32 = 10;
pub const OPERATION_POINTWISE: u32 = 13;
pub const OPERATIONGRAPH: u32 = 15;
pub const VARIANT_PACK: u32 = 16;
pub const TENSOR: u32 = 17;

pub const KINDS: [u32; 10] = [
    POINTWISE,
    CONVOLUTION,
    ENGINECFG,
    ENGINEHEUR,
    EXECUTION_PLAN,
    CONV_FORWARD,
    OPERATION_POINTWISE,
    OPERATIONGRAPH,
    VARIANT_PACK,
    TENSOR,
];

pub const POINTWISE_MODE_OF: u32 = 0;
pub const MATH_PREC: u32 = 1;
pub const COMP_TYPE: u32 = 100;
pub const CONV_MODE: u32 = 101;
pub const DILATIONS: u32 = 102;
pub const FILTER_STRIDES: u32 = 103;
pub const POST_PADDINGS: u32 = 104;
pub const PRE_PADDINGS: u32 = 105;
pub const SPATIAL_DIMS: u32 = 106;
pub const HEUR_MODE_OF: u32 = 200;
pub const HEUR_GRAPH: u32 = 201;
pub const HEUR_RESULTS: u32 = 202;
pub const PLAN_HANDLE: u32 = 400;
pub const PLAN_CONFIG: u32 = 401;
pub const PLAN_WORKSPACE: u32 = 402;
pub const PLAN_JSON: u32 = 405;
pub const CONV_ALPHA: u32 = 700;
pub const CONV_BETA: u32 = 701;
pub const CONV_DESC: u32 = 702;
pub const CONV_W: u32 = 703;
pub const CONV_X: u32 = 704;
pub const CONV_Y: u32 = 705;
pub const PW_DESC: u32 = 750;
pub const PW_X: u32 = 751;
pub const PW_B: u32 = 752;
pub const PW_Y: u32 = 753;
pub const GRAPH_HANDLE: u32 = 800;
pub const GRAPH_OPS: u32 = 801;
pub const ALIGNMENT: u32 = 900;
pub const TENSOR_TYPE: u32 = 901;
pub const DIMENSIONS: u32 = 902;
pub const STRIDES: u32 = 903;
pub const UNIQUE_ID: u32 = 906;
pub const IS_VIRTUAL: u32 = 907;
pub const PACK_IDS: u32 = 1000;
pub const PACK_POINTERS: u32 = 1001;
pub const PACK_WORKSPACE: u32 = 1003;

/// One settable attribute: number, type, how many values (`None` = any), whether it must be set.
pub type Row = (u32, u32, Option<i64>, bool);

pub fn rows(kind: u32) -> &'static [Row] {
    match kind {
        POINTWISE => &[
            (POINTWISE_MODE_OF, POINTWISE_MODE, Some(1), true),
            (MATH_PREC, DATA_TYPE, Some(1), true),
        ],
        CONVOLUTION => &[
            (SPATIAL_DIMS, INT64, Some(1), true),
            (COMP_TYPE, DATA_TYPE, Some(1), true),
            (CONV_MODE, CONVOLUTION_MODE, Some(1), true),
            (PRE_PADDINGS, INT64, Some(2), true),
            (POST_PADDINGS, INT64, Some(2), true),
            (DILATIONS, INT64, Some(2), true),
            (FILTER_STRIDES, INT64, Some(2), true),
        ],
        CONV_FORWARD => &[
            (CONV_X, DESCRIPTOR, Some(1), true),
            (CONV_W, DESCRIPTOR, Some(1), true),
            (CONV_Y, DESCRIPTOR, Some(1), true),
            (CONV_DESC, DESCRIPTOR, Some(1), true),
            (CONV_ALPHA, FLOAT, Some(1), true),
            (CONV_BETA, FLOAT, Some(1), true),
        ],
        OPERATION_POINTWISE => &[
            (PW_DESC, DESCRIPTOR, Some(1), true),
            (PW_X, DESCRIPTOR, Some(1), true),
            (PW_B, DESCRIPTOR, Some(1), false),
            (PW_Y, DESCRIPTOR, Some(1), true),
        ],
        OPERATIONGRAPH => &[
            (GRAPH_HANDLE, HANDLE, Some(1), true),
            (GRAPH_OPS, DESCRIPTOR, None, true),
        ],
        ENGINEHEUR => &[
            (HEUR_MODE_OF, HEUR_MODE, Some(1), true),
            (HEUR_GRAPH, DESCRIPTOR, Some(1), true),
        ],
        EXECUTION_PLAN => &[
            (PLAN_HANDLE, HANDLE, Some(1), true),
            (PLAN_CONFIG, DESCRIPTOR, Some(1), false),
            (PLAN_JSON, CHAR, None, false),
        ],
        VARIANT_PACK => &[
            (PACK_IDS, INT64, None, true),
            (PACK_POINTERS, VOID_PTR, None, true),
            (PACK_WORKSPACE, VOID_PTR, Some(1), true),
        ],
        TENSOR => &[
            (TENSOR_TYPE, DATA_TYPE, Some(1), true),
            (DIMENSIONS, INT64, Some(4), true),
            (STRIDES, INT64, Some(4), true),
            (UNIQUE_ID, INT64, Some(1), true),
            (ALIGNMENT, INT64, Some(1), true),
            (IS_VIRTUAL, BOOLEAN, Some(1), false),
        ],
        _ => &[],
    }
}
