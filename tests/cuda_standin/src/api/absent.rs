//! What GStreamer's CUDA elements look up when they load and do not use with system memory; and what NVRTC asks any driver it
//! finds, without a look at whether there is such a function.

use std::ffi::{c_int, c_uint, c_void};

use super::api;
use crate::status::NOT_SUPPORTED;

type P = *mut c_void;

api! {
    Nothing fn cuGetExportTable(_table: P, _id: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuTexObjectCreate(_texture: *mut u64, _resource: P, _description: P, _view: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuTexObjectDestroy(_texture: u64) { Err(NOT_SUPPORTED) }
    Nothing fn cuGLGetDevices(_count: P, _devices: P, _most: c_uint, _list: c_int) { Err(NOT_SUPPORTED) }
    Nothing fn cuGLGetDevices_v2(_count: P, _devices: P, _most: c_uint, _list: c_int) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsResourceSetMapFlags(_resource: P, _flags: c_uint) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsResourceSetMapFlags_v2(_resource: P, _flags: c_uint) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsResourceGetMappedPointer(_place: P, _size: P, _resource: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsResourceGetMappedPointer_v2(_place: P, _size: P, _resource: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsMapResources(_count: c_uint, _resources: P, _stream: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsUnmapResources(_count: c_uint, _resources: P, _stream: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsSubResourceGetMappedArray(_array: P, _resource: P, _index: c_uint, _level: c_uint) {
        Err(NOT_SUPPORTED)
    }
    Nothing fn cuGraphicsUnregisterResource(_resource: P) { Err(NOT_SUPPORTED) }
    Nothing fn cuGraphicsGLRegisterImage(_resource: P, _image: c_uint, _target: c_uint, _flags: c_uint) {
        Err(NOT_SUPPORTED)
    }
    Nothing fn cuGraphicsGLRegisterBuffer(_resource: P, _buffer: c_uint, _flags: c_uint) { Err(NOT_SUPPORTED) }
}
