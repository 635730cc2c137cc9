//! cuDNN's graph API as owned descriptors: every call's status becomes a value with the library's own words.

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;

use cudarc::cudnn::sys::{
    self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Kind,
    cudnnBackendDescriptorType_t as Descriptor, cudnnDataType_t as Data, cudnnPointwiseMode_t as Pointwise,
};

use super::error::CudnnError;
use super::steps::ConvShape;

pub(super) use cudarc::cudnn::sys::cudnnBackendHeurMode_t as Mode;

/// What a variant pack calls the arrays of a convolution.
const X: i64 = 1;
const W: i64 = 2;
const BIAS: i64 = 3;
const RESIDUAL: i64 = 4;
const Y: i64 = 5;
/// Of the first value between two operations.
const VIRTUAL: i64 = 10;

/// Bytes that the addresses of all arrays are multiples of.
const ARRAY_ALIGNMENT: i64 = 16;

type Result<T> = std::result::Result<T, CudnnError>;

fn check(status: sys::cudnnStatus_t, call: impl FnOnce() -> String) -> Result<()> {
    if status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS {
        return Ok(());
    }
    let mut text = [0u8; 2048];
    // SAFETY: writes at most that many bytes, with a zero at the end.
    unsafe { sys::cudnnGetLastErrorString(text.as_mut_ptr().cast(), text.len()) };
    let said = CStr::from_bytes_until_nul(&text)
        .map(CStr::to_string_lossy)
        .unwrap_or_default();
    let words: Vec<&str> = said.split_whitespace().collect();
    Err(CudnnError::Call {
        call: call(),
        reason: format!("{status:?} {}", words.join(" ")).trim().to_owned(),
    })
}

/// The library's state on one device. Its stream is the one set last.
#[derive(Debug)]
pub(super) struct Handle {
    raw: sys::cudnnHandle_t,
}

// SAFETY: a handle may be used from any thread, by one at a time; it is not Sync.
unsafe impl Send for Handle {}

impl Handle {
    /// On the device whose context is current.
    pub(super) fn new() -> Result<Handle> {
        let mut raw = null_mut();
        // SAFETY: `raw` is a valid place for a handle.
        check(unsafe { sys::cudnnCreate(&raw mut raw) }, || "cudnnCreate".to_owned())?;
        Ok(Handle { raw })
    }

    /// What is executed from now on is queued on `stream`, which lives until another is set or nothing more is executed.
    pub(super) fn set_stream(&mut self, stream: *mut c_void) -> Result<()> {
        // SAFETY: the handle lives; the caller gives a stream of this process's context.
        check(unsafe { sys::cudnnSetStream(self.raw, stream.cast()) }, || {
            "cudnnSetStream".to_owned()
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: created in `new`; plans made with it are not executed any more, as that takes a `Handle`.
        if let Err(error) = check(unsafe { sys::cudnnDestroy(self.raw) }, || "cudnnDestroy".to_owned()) {
            tracing::warn!("{error}");
        }
    }
}

/// One descriptor of the graph API.
#[derive(Debug)]
pub(super) struct Desc(sys::cudnnBackendDescriptor_t);

// SAFETY: descriptors may be used from any thread; one that is finalized is never changed again.
unsafe impl Send for Desc {}
// SAFETY: as above: only finalized ones are shared.
unsafe impl Sync for Desc {}

impl Drop for Desc {
    fn drop(&mut self) {
        // SAFETY: created in `new`. It cannot fail for a descriptor, and nothing could be done if it did.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

impl Desc {
    fn new(kind: Descriptor) -> Result<Desc> {
        let mut raw = null_mut();
        // SAFETY: `raw` is a valid place for a descriptor.
        let status = unsafe { sys::cudnnBackendCreateDescriptor(kind, &raw mut raw) };
        check(status, || format!("create {kind:?}"))?;
        Ok(Desc(raw))
    }

    fn all<T: Copy>(self, name: Name, kind: Kind, values: &[T]) -> Result<Desc> {
        // SAFETY: `values` has that many values, of the type that `kind` names: see the callers; the library copies them.
        let status =
            unsafe { sys::cudnnBackendSetAttribute(self.0, name, kind, values.len() as i64, values.as_ptr().cast()) };
        check(status, || format!("set {name:?}"))?;
        Ok(self)
    }

    fn one<T: Copy>(self, name: Name, kind: Kind, value: T) -> Result<Desc> {
        self.all(name, kind, &[value])
    }

    fn integers(self, name: Name, values: &[i64]) -> Result<Desc> {
        self.all(name, Kind::CUDNN_TYPE_INT64, values)
    }

    fn descriptors(self, name: Name, values: &[&Desc]) -> Result<Desc> {
        let raw: Vec<_> = values.iter().map(|desc| desc.0).collect();
        self.all(name, Kind::CUDNN_TYPE_BACKEND_DESCRIPTOR, &raw)
    }

    fn data(self, name: Name, data: Data) -> Result<Desc> {
        self.one(name, Kind::CUDNN_TYPE_DATA_TYPE, data)
    }

    fn finalize(self) -> Result<Desc> {
        // SAFETY: the descriptor lives.
        check(unsafe { sys::cudnnBackendFinalize(self.0) }, || "finalize".to_owned())?;
        Ok(self)
    }

    /// Up to `room` values of `name` into `to`; how many there are.
    fn get<T: Copy>(&self, name: Name, kind: Kind, to: &mut [T]) -> Result<usize> {
        let mut count = 0;
        let start = if to.is_empty() { null_mut() } else { to.as_mut_ptr() };
        // SAFETY: `to` has room for as many values, of the type that `kind` names: see the callers.
        let status =
            unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, to.len() as i64, &raw mut count, start.cast()) };
        check(status, || format!("get {name:?}"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn integer(&self, name: Name) -> Result<i64> {
        let mut value = [0i64];
        self.get(name, Kind::CUDNN_TYPE_INT64, &mut value)?;
        Ok(value[0])
    }
}

/// What plans are made for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// The device of a handle.
    Device(&'a Handle),
    /// A device that is only described.
    Described(&'a Desc),
}

/// A device by its properties, as cuDNN writes them (JSON).
pub(super) fn described_device(json: &[u8]) -> Result<Desc> {
    Desc::new(Descriptor::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?
        .all(
            Name::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
            Kind::CUDNN_TYPE_CHAR,
            json,
        )?
        .finalize()
}

/// [N, C, H, W] as the API wants it, lying channels last.
fn tensor(id: i64, data: Data, [n, c, h, w]: [usize; 4]) -> Result<Desc> {
    let [n, c, h, w] = [n, c, h, w].map(|extent| extent as i64);
    Desc::new(Descriptor::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .data(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, data)?
        .integers(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &[n, c, h, w])?
        .integers(Name::CUDNN_ATTR_TENSOR_STRIDES, &[c * h * w, 1, c * w, c])?
        .integers(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])?
        .integers(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ARRAY_ALIGNMENT])?
        .one(
            Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL,
            Kind::CUDNN_TYPE_BOOLEAN,
            u8::from(id >= VIRTUAL),
        )?
        .finalize()
}

fn pointwise(mode: Pointwise, x: &Desc, b: Option<&Desc>, y: &Desc) -> Result<Desc> {
    let how = Desc::new(Descriptor::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?
        .one(Name::CUDNN_ATTR_POINTWISE_MODE, Kind::CUDNN_TYPE_POINTWISE_MODE, mode)?
        .data(Name::CUDNN_ATTR_POINTWISE_MATH_PREC, Data::CUDNN_DATA_FLOAT)?
        .finalize()?;
    let operation = Desc::new(Descriptor::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)?
        .descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, &[&how])?
        .descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC, &[x])?
        .descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC, &[y])?;
    match b {
        Some(b) => operation.descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC, &[b])?,
        None => operation,
    }
    .finalize()
}

fn convolution(shape: &ConvShape, x: &Desc, w: &Desc, y: &Desc) -> Result<Desc> {
    let (pad, stride) = (shape.pad as i64, shape.stride as i64);
    let how = Desc::new(Descriptor::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .integers(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2])?
        .data(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Data::CUDNN_DATA_FLOAT)?
        .one(
            Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
            Kind::CUDNN_TYPE_CONVOLUTION_MODE,
            sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
        )?
        .integers(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &[pad, pad])?
        .integers(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &[pad, pad])?
        .integers(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &[1, 1])?
        .integers(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &[stride, stride])?
        .finalize()?;
    Desc::new(Descriptor::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)?
        .descriptors(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, &[x])?
        .descriptors(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, &[w])?
        .descriptors(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, &[y])?
        .descriptors(Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, &[&how])?
        .one(
            Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            Kind::CUDNN_TYPE_FLOAT,
            1f32,
        )?
        .one(
            Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            Kind::CUDNN_TYPE_FLOAT,
            0f32,
        )?
        .finalize()
}

/// The operations of one fused convolution.
fn operation_graph(shape: &ConvShape, target: Target<'_>) -> Result<Desc> {
    let (h, w) = shape.output();
    let (half, float) = (Data::CUDNN_DATA_HALF, Data::CUDNN_DATA_FLOAT);
    let out = [shape.n, shape.k, h, w];
    let x = tensor(X, half, [shape.n, shape.c, shape.h, shape.w])?;
    let weight = tensor(W, half, [shape.k, shape.c, shape.kernel, shape.kernel])?;
    let bias = tensor(BIAS, float, [1, shape.k, 1, 1])?;
    let y = tensor(Y, if shape.f32_out { float } else { half }, out)?;
    // What is done to the sums, one after the other. Without the identity cuDNN 9.19's heuristics know no plan that ends
    // in f32.
    let mut rest = vec![(Pointwise::CUDNN_POINTWISE_ADD, Some(bias))];
    if shape.residual {
        let residual = tensor(RESIDUAL, half, out)?;
        rest.push((Pointwise::CUDNN_POINTWISE_ADD, Some(residual)));
    }
    if shape.relu {
        rest.push((Pointwise::CUDNN_POINTWISE_RELU_FWD, None));
    } else if shape.f32_out && !shape.residual {
        rest.push((Pointwise::CUDNN_POINTWISE_IDENTITY, None));
    }
    let sums = tensor(VIRTUAL, float, out)?;
    let mut operations = vec![convolution(shape, &x, &weight, &sums)?];
    let mut between = sums;
    let last = rest.len() - 1;
    for (i, (mode, b)) in rest.into_iter().enumerate() {
        if i == last {
            operations.push(pointwise(mode, &between, b.as_ref(), &y)?);
        } else {
            let next = tensor(VIRTUAL + 1 + i as i64, float, out)?;
            operations.push(pointwise(mode, &between, b.as_ref(), &next)?);
            between = next;
        }
    }
    let graph = Desc::new(Descriptor::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
    let graph = match target {
        Target::Device(handle) => graph.one(
            Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE,
            Kind::CUDNN_TYPE_HANDLE,
            handle.raw,
        )?,
        Target::Described(_) => graph,
    };
    let operations: Vec<&Desc> = operations.iter().collect();
    graph
        .descriptors(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operations)?
        .finalize()
}

/// One way to run a fused convolution.
#[derive(Debug)]
pub(super) struct Configuration {
    config: Desc,
    // The configuration points at it.
    _graph: std::sync::Arc<Desc>,
}

/// What cuDNN suggests in `mode`, best first.
pub(super) fn configurations(shape: &ConvShape, mode: Mode, target: Target<'_>) -> Result<Vec<Configuration>> {
    let graph = std::sync::Arc::new(operation_graph(shape, target)?);
    let asked = Desc::new(Descriptor::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .descriptors(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &[&graph])?
        .one(Name::CUDNN_ATTR_ENGINEHEUR_MODE, Kind::CUDNN_TYPE_HEUR_MODE, mode)?;
    let asked = match target {
        Target::Device(_) => asked,
        Target::Described(device) => asked.descriptors(Name::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, &[device])?,
    };
    let asked = asked.finalize()?;
    let results = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    let kind = Kind::CUDNN_TYPE_BACKEND_DESCRIPTOR;
    let count = asked.get::<sys::cudnnBackendDescriptor_t>(results, kind, &mut [])?;
    // The library fills descriptors that the caller made.
    let places: Vec<Desc> = (0..count)
        .map(|_| Desc::new(Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR))
        .collect::<Result<_>>()?;
    let mut raw: Vec<_> = places.iter().map(|desc| desc.0).collect();
    let count = if raw.is_empty() {
        0
    } else {
        asked.get(results, kind, &mut raw)?
    };
    Ok(places
        .into_iter()
        .take(count)
        .map(|config| Configuration {
            config,
            _graph: std::sync::Arc::clone(&graph),
        })
        .collect())
}

/// A compiled configuration.
#[derive(Debug)]
pub(super) struct Plan {
    plan: Desc,
    /// Bytes it wants beside its arrays.
    pub workspace: usize,
}

impl Plan {
    pub(super) fn build(configuration: &Configuration, target: Target<'_>) -> Result<Plan> {
        Plan::with_target(target)?
            .descriptors(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &[&configuration.config])?
            .finalize()
            .and_then(Plan::of)
    }

    /// From what [`Plan::json`] gave, by the same library on the same kind of device.
    pub(super) fn from_json(json: &str, target: Target<'_>) -> Result<Plan> {
        let plan = Plan::with_target(target)?.all(
            Name::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
            Kind::CUDNN_TYPE_CHAR,
            json.as_bytes(),
        )?;
        Plan::of(plan.finalize()?)
    }

    fn with_target(target: Target<'_>) -> Result<Desc> {
        let plan = Desc::new(Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        match target {
            Target::Device(handle) => plan.one(
                Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                Kind::CUDNN_TYPE_HANDLE,
                handle.raw,
            ),
            Target::Described(device) => plan.descriptors(Name::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, &[device]),
        }
    }

    fn of(plan: Desc) -> Result<Plan> {
        let bytes = plan.integer(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        Ok(Plan {
            plan,
            workspace: usize::try_from(bytes).unwrap_or(0),
        })
    }

    /// The compiled plan as text, to be kept.
    pub(super) fn json(&self) -> Result<String> {
        let name = Name::CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION;
        let count = self.plan.get::<u8>(name, Kind::CUDNN_TYPE_CHAR, &mut [])?;
        let mut text = vec![0u8; count];
        let count = self.plan.get(name, Kind::CUDNN_TYPE_CHAR, &mut text)?;
        text.truncate(count);
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Addresses on the device of one convolution's arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrays {
    pub x: u64,
    pub weight: u64,
    pub bias: u64,
    pub residual: Option<u64>,
    pub y: u64,
    pub workspace: u64,
}

/// A plan's arrays as it takes them.
#[derive(Debug)]
pub(super) struct Pack(Desc);

impl Pack {
    /// # Safety
    /// The addresses are those of arrays on this process's device with the shape the plan was made for, which live as
    /// long as the pack is executed; the workspace has the plan's bytes.
    pub(super) unsafe fn new(arrays: &Arrays) -> Result<Pack> {
        let mut ids = vec![X, W, BIAS, Y];
        let mut addresses = vec![arrays.x, arrays.weight, arrays.bias, arrays.y];
        if let Some(residual) = arrays.residual {
            ids.push(RESIDUAL);
            addresses.push(residual);
        }
        Desc::new(Descriptor::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .all(
                Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                Kind::CUDNN_TYPE_VOID_PTR,
                &addresses,
            )?
            .integers(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &ids)?
            .one(
                Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                Kind::CUDNN_TYPE_VOID_PTR,
                arrays.workspace,
            )?
            .finalize()
            .map(Pack)
    }
}

impl Plan {
    /// Queues one run on the handle's stream.
    ///
    /// # Safety
    /// `pack` was made for this plan's shape, what it names lives until the stream has passed the run, and nobody else
    /// writes it by then.
    pub(super) unsafe fn execute(&self, pack: &Pack, handle: &Handle) -> Result<()> {
        // SAFETY: all three live; the caller answers for the arrays.
        check(
            unsafe { sys::cudnnBackendExecute(handle.raw, self.plan.0, pack.0.0) },
            || "execute".to_owned(),
        )
    }
}
