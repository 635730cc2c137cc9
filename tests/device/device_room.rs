//! The device room's promises: memory, order, captures, and what is said where something fails.

use std::ffi::{CString, c_char, c_int};
use std::process::Command;

use maskcast::device::{Device, DeviceError, LaunchShape, Timing, arg};
use maskcast::device::{KernelSource, Kernels};

use crate::{device, standin};

/// Counts of the stand-in are of the whole process: tests that look at them run one at a time, in a child process.
const ALONE: &str = "MASKCAST_DEVICE_ALONE";

/// Whether this is the child process of `test`; else runs it, with `variables`, and passes on how it ended.
fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var_os(ALONE).is_some_and(|name| name == test) {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("device_room::{test}"), "--nocapture"]);
    child.env(ALONE, test).envs(variables.iter().copied());
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}, {}: {said}", output.status);
    false
}

fn count(of: &str) -> usize {
    let name = CString::new(of).unwrap();
    // SAFETY: functions without arguments, as api/own.rs of the stand-in declares them.
    unsafe {
        let function = standin().get::<unsafe extern "C" fn() -> usize>(name.as_bytes_with_nul());
        function.unwrap()()
    }
}

/// The `nth` call of `call` by this thread from now on fails.
fn fail(call: &str, nth: usize) {
    let call = CString::new(call).unwrap();
    type Fail = unsafe extern "C" fn(*const c_char, usize, c_int) -> c_int;
    // SAFETY: as api/own.rs of the stand-in declares it; the string outlives the call.
    let code = unsafe { standin().get::<Fail>(b"cuda_standin_fail\0").unwrap()(call.as_ptr(), nth, 0) };
    assert_eq!(code, 0);
}

#[test]
fn the_standin_opens_as_a_hopper() {
    let device = device();
    assert_eq!(device.facts().sm, 90);
    let buffer = device.upload("values", &[1_u32, 2, 3]).unwrap();
    assert_eq!(device.download(buffer.slice()).unwrap(), [1, 2, 3]);
}

#[test]
fn a_device_that_is_not_there_is_named() {
    standin();
    let refused = Device::open(1).unwrap_err();
    assert_eq!(refused, DeviceError::NoDevice { ordinal: 1, count: 1 });
}

/// The program in a process without any driver: one sentence, no panic.
#[test]
fn without_a_driver_the_doctor_says_so() {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_maskcast"));
    doctor
        .arg("doctor")
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD");
    let output = doctor.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    if said.contains("libcuda.so.1 is not on this machine") {
        assert_eq!(said.matches("libcuda.so.1 is not on this machine").count(), 1, "{said}");
    } else {
        println!("not run: this machine has a driver");
    }
}

#[test]
fn no_room_says_for_what_and_how_much() {
    if !alone(
        "no_room_says_for_what_and_how_much",
        &[("CUDA_STANDIN_MEMORY", "1000000")],
    ) {
        return;
    }
    let device = device();
    let held = device.buffer::<u8>("weights", 600_000).unwrap();
    let refused = device.buffer::<f32>("features", 150_000).unwrap_err();
    let expected = DeviceError::OutOfMemory {
        what: "features".to_owned(),
        bytes: 600_000,
        free: 400_000,
        total: 1_000_000,
    };
    assert_eq!(refused, expected);
    drop(held);
    assert!(
        device.buffer::<f32>("features", 150_000).is_ok(),
        "what was freed can be had again"
    );
    let refused = device.pinned::<u8>("results", 2_000_000).unwrap_err().to_string();
    assert!(refused.contains("results") && refused.contains("2000000"), "{refused}");
}

#[test]
fn nothing_may_be_allocated_or_waited_for_in_a_capture() {
    let device = device();
    let stream = device.stream("captured").unwrap();
    let event = device.event(Timing::No).unwrap();
    stream.record(&event).unwrap();
    let mut buffer = device.buffer::<u32>("values", 4).unwrap();
    type Step<'a> = &'a dyn Fn() -> Result<(), DeviceError>;
    let steps: [(&str, Step); 4] = [
        ("cuMemAlloc", &|| device.buffer::<u8>("scratch", 16).map(drop)),
        ("cuStreamSynchronize", &|| stream.synchronize()),
        ("cuCtxSynchronize", &|| device.synchronize()),
        ("cuEventQuery", &|| event.is_done().map(drop)),
    ];
    for (call, step) in steps {
        let refused = stream.capture(step).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(call) && said.contains("CAPTURE"), "{call}: {said}");
        // The stream is as good as before.
        stream.fill(buffer.slice_mut(), 7).unwrap();
        stream.synchronize().unwrap();
        assert_eq!(device.download(buffer.slice()).unwrap(), [0x0707_0707; 4]);
    }
}

#[test]
fn work_of_two_streams_is_captured_where_it_is_joined() {
    let device = device();
    let (main, side) = (device.stream("main").unwrap(), device.stream("side").unwrap());
    let (forked, joined) = (device.event(Timing::No).unwrap(), device.event(Timing::No).unwrap());
    let mut buffers = [
        device.buffer::<u8>("a", 8).unwrap(),
        device.buffer::<u8>("b", 8).unwrap(),
    ];
    let [a, b] = &mut buffers;
    let fork = |a: &mut maskcast::device::DeviceBuffer<u8>, b: &mut maskcast::device::DeviceBuffer<u8>, join: bool| {
        main.capture(|| {
            main.fill(a.slice_mut(), 1)?;
            main.record(&forked)?;
            side.wait(&forked)?;
            side.fill(b.slice_mut(), 2)?;
            if join {
                side.record(&joined)?;
                main.wait(&joined)?;
            }
            Ok::<_, DeviceError>(())
        })
    };
    let refused = fork(a, b, false).unwrap_err().to_string();
    assert!(refused.contains("UNJOINED"), "{refused}");
    let mut graph = fork(a, b, true).unwrap();
    graph.launch(&main).unwrap();
    main.synchronize().unwrap();
    assert_eq!(device.download(a.slice()).unwrap(), [1; 8]);
    assert_eq!(device.download(b.slice()).unwrap(), [2; 8]);
}

/// The fence of a pinned buffer would be captured with the copy, and nobody could wait for it: refused before it is queued.
#[test]
fn a_stream_that_joined_a_capture_of_another_takes_no_pinned_memory() {
    let device = device();
    let (main, side) = (device.stream("main").unwrap(), device.stream("side").unwrap());
    let (forked, joined) = (device.event(Timing::No).unwrap(), device.event(Timing::No).unwrap());
    let mut values = device.upload("values", &[5_u8; 8]).unwrap();
    let mut seen = device.pinned::<u8>("seen", 8).unwrap();
    let mut inner = main.capture(|| main.fill(values.slice_mut(), 6)).unwrap();
    let mut graph = main
        .capture(|| {
            main.record(&forked)?;
            side.wait(&forked)?;
            let download = side.download(values.slice(), &mut seen).unwrap_err().to_string();
            let upload = side.upload(&seen, values.slice_mut()).unwrap_err().to_string();
            let launch = inner.launch(&side).unwrap_err().to_string();
            for (refused, what) in [
                (download, "pinned memory"),
                (upload, "pinned memory"),
                (launch, "graph"),
            ] {
                assert!(refused.contains("stream side") && refused.contains(what), "{refused}");
            }
            // The capture is as good as before, and its own stream takes the copy.
            side.fill(values.slice_mut(), 7)?;
            side.record(&joined)?;
            main.wait(&joined)?;
            main.download(values.slice(), &mut seen)
        })
        .unwrap();
    seen.read().unwrap(); // no fence was captured
    graph.launch(&main).unwrap();
    assert_eq!(seen.read().unwrap(), [7; 8]);
    side.download(values.slice(), &mut seen).unwrap();
    assert_eq!(seen.read().unwrap(), [7; 8]);
}

/// The stand-in runs nothing before someone waits (seed 0): only a read that waits sees the copy.
#[test]
fn reading_pinned_memory_waits_for_the_copy() {
    if !alone(
        "reading_pinned_memory_waits_for_the_copy",
        &[("CUDA_STANDIN_SEED", "0")],
    ) {
        return;
    }
    let device = device();
    let stream = device.stream("copies").unwrap();
    let from = device.upload("values", &[5_u8; 100]).unwrap();
    let mut to = device.pinned::<u8>("results", 100).unwrap();
    let place = to.write().unwrap().as_ptr();
    stream.download(from.slice(), &mut to).unwrap();
    // SAFETY: the pinned values live, and nothing runs on the stand-in meanwhile.
    assert_eq!(unsafe { place.read_volatile() }, 0, "the copy is still queued");
    assert_eq!(to.read().unwrap(), [5; 100]);

    // A graph raises the fences of what it touches at each launch.
    let mut graph = stream.capture(|| stream.download(from.slice(), &mut to)).unwrap();
    for _ in 0..2 {
        to.write().unwrap().fill(0);
        graph.launch(&stream).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { place.read_volatile() }, 0, "the copy is still queued");
        assert_eq!(to.read().unwrap(), [5; 100]);
    }
}

/// Two streams and no event between them: the reader reads what was there before. With the event it reads what was written.
#[test]
fn a_missing_event_between_streams_shows() {
    if !alone("a_missing_event_between_streams_shows", &[("CUDA_STANDIN_SEED", "0")]) {
        return;
    }
    let device = device();
    let (writer, reader) = (device.stream("writer").unwrap(), device.stream("reader").unwrap());
    let written = device.event(Timing::No).unwrap();
    let mut values = device.buffer::<u8>("values", 4).unwrap();
    let mut seen = device.pinned::<u8>("seen", 4).unwrap();
    writer.fill(values.slice_mut(), 9).unwrap();
    reader.download(values.slice(), &mut seen).unwrap();
    assert_eq!(seen.read().unwrap(), [0; 4], "nobody told the reader to wait");
    device.synchronize().unwrap();
    writer.fill(values.slice_mut(), 8).unwrap();
    writer.record(&written).unwrap();
    reader.wait(&written).unwrap();
    reader.download(values.slice(), &mut seen).unwrap();
    assert_eq!(seen.read().unwrap(), [8; 4]);
    assert!(written.is_done().unwrap());
}

/// Fills and uploads are over when their calls return: a stream of ours does not wait for the default stream.
#[test]
fn new_buffers_are_ready_for_any_stream() {
    if !alone("new_buffers_are_ready_for_any_stream", &[("CUDA_STANDIN_SEED", "0")]) {
        return;
    }
    let device = device();
    let stream = device.stream("copies").unwrap();
    let zeros = device.buffer::<u8>("zeros", 64).unwrap();
    let ones = device.upload("ones", &[1_u8; 64]).unwrap();
    let mut seen = device.pinned::<u8>("seen", 64).unwrap();
    stream.download(zeros.slice(), &mut seen).unwrap();
    assert_eq!(seen.read().unwrap(), [0; 64]);
    stream.download(ones.slice(), &mut seen).unwrap();
    assert_eq!(seen.read().unwrap(), [1; 64]);
}

#[test]
fn all_is_given_back_and_replays_allocate_nothing() {
    if !alone("all_is_given_back_and_replays_allocate_nothing", &[]) {
        return;
    }
    let device = device();
    {
        let stream = device.stream("work").unwrap();
        let mut buffer = device.buffer::<f32>("values", 1000).unwrap();
        let mut host = device.pinned::<f32>("results", 1000).unwrap();
        let mut graph = stream
            .capture(|| {
                stream.fill(buffer.slice_mut(), 0)?;
                stream.download(buffer.slice(), &mut host)
            })
            .unwrap();
        let before = (device.allocations(), count("cuda_standin_allocations"));
        for _ in 0..20 {
            graph.launch(&stream).unwrap();
            host.read().unwrap();
        }
        assert_eq!((device.allocations(), count("cuda_standin_allocations")), before);
        assert_eq!(device.live_bytes(), 8000);
        assert_eq!(count("cuda_standin_live_bytes"), 8000);
        // A capture that fails leaves nothing behind either.
        let failed = stream.capture(|| Err::<(), _>(DeviceError::NoDriver));
        assert_eq!(failed.unwrap_err(), DeviceError::NoDriver);
    }
    assert_eq!((device.live_bytes(), count("cuda_standin_live_bytes")), (0, 0));
    drop(device);
    assert_eq!(
        count("cuda_standin_live_handles"),
        0,
        "streams, events, graphs, modules, contexts"
    );
}

/// Each call that may fail, failing: an error that names it, and nothing kept.
#[test]
fn a_failing_call_is_named_and_leaks_nothing() {
    if !alone("a_failing_call_is_named_and_leaks_nothing", &[]) {
        return;
    }
    let device = device();
    let work = |device: &Device| -> Result<(), DeviceError> {
        let stream = device.stream("work")?;
        let mut buffer = device.upload("values", &[1_u8; 64])?;
        let mut host = device.pinned::<u8>("results", 64)?;
        let mut graph = stream.capture(|| {
            stream.fill(buffer.slice_mut(), 3)?;
            stream.download(buffer.slice(), &mut host)
        })?;
        graph.launch(&stream)?;
        assert_eq!(host.read()?, [3; 64]);
        Ok(())
    };
    work(&device).unwrap();
    let calls = [
        ("cuStreamCreate", "cuStreamCreate"),
        ("cuMemAlloc_v2", "no room"),
        ("cuMemsetD8_v2", "cuMemset"),
        ("cuMemcpyHtoD_v2", "cuMemcpyHtoD"),
        ("cuMemHostAlloc", "no room"),
        ("cuEventCreate", "cuEventCreate"),
        ("cuStreamBeginCapture_v2", "cuStreamBeginCapture"),
        ("cuMemcpyDtoHAsync_v2", "cuMemcpyDtoH"),
        ("cuGraphInstantiateWithFlags", "cuGraphInstantiate"),
        ("cuGraphLaunch", "cuGraphLaunch"),
        ("cuEventSynchronize", "cuEventSynchronize"),
    ];
    for (call, named) in calls {
        fail(call, 1);
        let said = work(&device).expect_err(call).to_string();
        assert!(said.contains(named), "{call}: {said}");
        assert_eq!(
            (device.live_bytes(), count("cuda_standin_live_bytes")),
            (0, 0),
            "{call}"
        );
    }
}

const FAULTY: KernelSource = KernelSource {
    name: "faulty",
    text: include_str!("../cuda_standin/emu/faulty.cu"),
    headers: &[maskcast::ops::device::COMMON],
};

/// Writes past the end are seen by what runs them: as an error here, with the kernel's line under `make sanitize`.
#[test]
fn a_store_out_of_bounds_is_an_error() {
    const TEST: &str = "a_store_out_of_bounds_is_an_error";
    let sanitized = std::env::var_os("MASKCAST_SANITIZED").is_some();
    if std::env::var_os(ALONE).is_none() && sanitized {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", &format!("device_room::{TEST}"), "--nocapture"])
            .env(ALONE, TEST);
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            said.contains("heap-buffer-overflow") && said.contains("faulty.cu:7"),
            "{said}"
        );
        return;
    }
    if !alone(TEST, &[]) {
        return;
    }
    let device = device();
    let kernels = Kernels::load(&device, &[FAULTY]).unwrap();
    let kernel = kernels.get("faulty").unwrap();
    let stream = device.stream("work").unwrap();
    let buffer = device.buffer::<u32>("values", 20).unwrap();
    let address = buffer.slice().address();
    for n in [19_u32, 20] {
        // SAFETY: a pointer and a length, as the kernel takes them; with 20 it stores one value too many, into guard bytes.
        unsafe { kernel.launch(&stream, LaunchShape::linear(32, 32), &[arg(&address), arg(&n)]) }.unwrap();
        let ended = stream.synchronize();
        match n {
            19 => ended.unwrap(),
            _ => assert!(ended.unwrap_err().to_string().contains("ILLEGAL_ADDRESS")),
        }
    }
    // Nothing works any more, as on a GPU: end here, before what is left complains.
    std::process::exit(0);
}
