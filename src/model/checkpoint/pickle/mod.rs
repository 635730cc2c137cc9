//! The pickle machine (protocols 2 to 5, as torch and numpy write them): opcodes to values. It runs nothing: the few
//! functions of [`globals`] are known by name and done here, any other name ends the reading. What the values mean as
//! tensors stands in `state_dict`.

mod globals;
mod value;

use std::collections::HashMap;

use super::Fault;
use globals::{Global, call, persistent};
pub(super) use value::{Array, Object, ObjectId, Pickle, Place, Storage, Value};

/// A checkpoint with its optimiser has some 100 000; each may cost a few dozen bytes of memory.
const MAX_OPCODES: usize = 2_000_000;

/// Where the storages of a pickle may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Beside it, under keys.
    Storages,
    /// Within it, as streams of torch's own, which hold no further ones: reading never goes deeper than that.
    Streams,
    Nothing,
}

/// Reads the first pickle of `bytes`.
pub(super) fn read(bytes: &[u8], beside: Beside) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        input: bytes,
        at: 0,
        opcode_at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        beside,
        nested_left: bytes.len(),
    };
    for _ in 0..MAX_OPCODES {
        if let Some(root) = machine.step()? {
            return Ok(Pickle {
                objects: machine.objects,
                root,
                length: machine.at,
            });
        }
    }
    Err(machine.fault(format_args!("expected at most {MAX_OPCODES} opcodes, got more")))
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    /// Where the opcode in hand stands.
    opcode_at: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    objects: Vec<Object<'a>>,
    beside: Beside,
    /// Bytes of streams within the stream that may still be read: a stream can name the same one many times.
    nested_left: usize,
}

impl<'a> Machine<'a> {
    fn fault(&self, reason: impl ToString) -> Fault {
        Fault::Pickle {
            offset: self.opcode_at,
            reason: reason.to_string(),
        }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        match usize::try_from(count).ok().and_then(|count| rest.get(..count)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.fault(format_args!("expected {count} bytes more, got {}", rest.len()))),
        }
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.first_chunk().copied().unwrap_or([0; N]))
    }

    fn byte(&mut self) -> Result<u64, Fault> {
        Ok(u64::from(self.number::<1>()?[0]))
    }

    fn four(&mut self) -> Result<u64, Fault> {
        Ok(u64::from(u32::from_le_bytes(self.number()?)))
    }

    fn eight(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.number()?))
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.fault("expected a line, got the end"));
        };
        let line = self.take(length as u64 + 1)?;
        std::str::from_utf8(line.trim_ascii_end()).map_err(|_| self.fault("expected a name in UTF-8"))
    }

    fn text(&mut self, length: u64) -> Result<Value<'a>, Fault> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.fault("expected text in UTF-8"))?;
        Ok(Value::Text(text))
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        // What lies below a mark belongs to whoever set it.
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.fault("expected a value on the stack, got none"));
        }
        self.stack.pop().ok_or_else(|| self.fault("expected a value, got none"))
    }

    fn top(&mut self) -> Result<Value<'a>, Fault> {
        let value = self.pop()?;
        self.stack.push(value);
        Ok(value)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        let Some(mark) = self.marks.pop() else {
            return Err(self.fault("expected a mark on the stack, got none"));
        };
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn new_object(&mut self, object: Object<'a>) -> Value<'a> {
        self.objects.push(object);
        Value::Object((self.objects.len() - 1) as ObjectId)
    }

    fn object_mut(&mut self, value: Value<'a>) -> Option<&mut Object<'a>> {
        match value {
            Value::Object(id) => self.objects.get_mut(id as usize),
            _ => None,
        }
    }

    fn tuple(&mut self, count: usize) -> Result<Value<'a>, Fault> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(self.new_object(Object::Tuple(items)))
    }

    fn extend(&mut self, items: Vec<Value<'a>>) -> Result<(), Fault> {
        let list = self.top()?;
        match self.object_mut(list) {
            Some(Object::List(list)) => list.extend(items),
            Some(Object::Opaque) => {}
            _ => return Err(self.unfit("a list", list)),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value<'a>>) -> Result<(), Fault> {
        let dict = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(self.fault("expected a value for every key, got one less"));
        }
        match self.object_mut(dict) {
            Some(Object::Dict(entries)) => entries.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Some(Object::Opaque) => {}
            _ => return Err(self.unfit("a dict", dict)),
        }
        Ok(())
    }

    fn unfit(&self, expected: &str, got: Value<'a>) -> Fault {
        let got = value::kind(&self.objects, got);
        self.fault(format_args!("expected {expected}, got {got}"))
    }

    fn recall(&self, index: u64) -> Result<Value<'a>, Fault> {
        let found = u32::try_from(index).ok().and_then(|index| self.memo.get(&index));
        let missing = || self.fault(format_args!("expected a value remembered as {index}, got none"));
        found.copied().ok_or_else(missing)
    }

    fn remember(&mut self, index: u32) -> Result<(), Fault> {
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn long(&mut self, length: u64) -> Result<Value<'a>, Fault> {
        let bytes = self.take(length)?;
        if bytes.len() > 8 {
            return Ok(Value::Long(bytes));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        for (to, &from) in wide.iter_mut().zip(bytes) {
            *to = from;
        }
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    /// Done with the stream: its root.
    fn step(&mut self) -> Result<Option<Value<'a>>, Fault> {
        self.opcode_at = self.at;
        let opcode = self.number::<1>()?[0];
        let pushed = match opcode {
            // PROTO, FRAME: what they announce is found out anyway.
            0x80 => {
                let protocol = self.byte()?;
                if !(2..=5).contains(&protocol) {
                    return Err(self.fault(format_args!("expected pickle protocol 2 to 5, got {protocol}")));
                }
                return Ok(None);
            }
            0x95 => {
                self.eight()?;
                return Ok(None);
            }
            b'.' => return self.pop().map(Some),
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(None);
            }
            b'0' => {
                self.pop()?;
                return Ok(None);
            }
            b'1' => {
                self.pop_to_mark()?;
                return Ok(None);
            }
            b'2' => self.top()?,
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.number()?))),
            b'K' => Value::Int(self.byte()? as i64),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.number()?))),
            0x8a => {
                let length = self.byte()?;
                self.long(length)?
            }
            0x8b => {
                let length = self.four()?;
                self.long(length)?
            }
            b'G' => {
                self.eight()?;
                Value::Float
            }
            b'X' => {
                let length = self.four()?;
                self.text(length)?
            }
            0x8c => {
                let length = self.byte()?;
                self.text(length)?
            }
            0x8d => {
                let length = self.eight()?;
                self.text(length)?
            }
            // Strings of Python 2 and bytes of Python 3.
            b'T' | b'B' => {
                let length = self.four()?;
                Value::Bytes(self.take(length)?)
            }
            b'U' | b'C' => {
                let length = self.byte()?;
                Value::Bytes(self.take(length)?)
            }
            0x8e | 0x96 => {
                let length = self.eight()?;
                Value::Bytes(self.take(length)?)
            }
            b')' => self.new_object(Object::Tuple(Vec::new())),
            b']' => self.new_object(Object::List(Vec::new())),
            b'}' => self.new_object(Object::Dict(Vec::new())),
            0x8f => self.new_object(Object::Opaque),
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.new_object(Object::Tuple(items))
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.new_object(Object::List(items))
            }
            0x91 => {
                self.pop_to_mark()?;
                self.new_object(Object::Opaque)
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                let dict = self.new_object(Object::Dict(Vec::new()));
                self.stack.push(dict);
                self.set_items(items)?;
                return Ok(None);
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
                return Ok(None);
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(items)?;
                return Ok(None);
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![key, value])?;
                return Ok(None);
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(items)?;
                return Ok(None);
            }
            b'h' => {
                let index = self.byte()?;
                self.recall(index)?
            }
            b'j' => {
                let index = self.four()?;
                self.recall(index)?
            }
            b'q' => {
                let index = self.byte()? as u32;
                self.remember(index)?;
                return Ok(None);
            }
            b'r' => {
                let index = u32::from_le_bytes(self.number()?);
                self.remember(index)?;
                return Ok(None);
            }
            0x94 => {
                let index = self.memo.len() as u32;
                self.remember(index)?;
                return Ok(None);
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                match (value::text(module), value::text(name)) {
                    (Some(module), Some(name)) => self.global(module, name)?,
                    _ => return Err(self.unfit("the name of a global", name)),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                persistent(self, id)?
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                let Value::Global(global) = callee else {
                    return Err(self.unfit("something to call", callee));
                };
                call(self, global, arguments)?
            }
            b'b' => {
                let state = self.pop()?;
                let built = self.top()?;
                globals::build(self, built, state)?;
                return Ok(None);
            }
            _ => {
                return Err(self.fault(format_args!(
                    "expected an opcode of protocols 2 to 5 without code, got {opcode:#04x}"
                )));
            }
        };
        self.stack.push(pushed);
        Ok(None)
    }

    fn global(&self, module: &str, name: &str) -> Result<Value<'a>, Fault> {
        Global::find(module, name)
            .map(Value::Global)
            .ok_or_else(|| Fault::Refused {
                offset: self.opcode_at,
                global: format!("{module}.{name}"),
            })
    }
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
