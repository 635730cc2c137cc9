use super::*;

fn text_of(bytes: &[u8]) -> String {
    read(bytes, Beside::Streams).unwrap_err().to_string()
}

#[test]
fn integers_of_every_length() {
    for (bytes, expected) in [
        (&b"K\xff."[..], 255),
        (b"M\xff\xff.", 65535),
        (b"J\xff\xff\xff\xff.", -1),
        (b"\x8a\x00.", 0),
        (b"\x8a\x01\xfe.", -2),
        (b"\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32),
        (b"\x8b\x02\x00\x00\x00\x00\x80.", -32768),
    ] {
        let pickle = read(bytes, Beside::Nothing).unwrap();
        assert!(
            matches!(pickle.root, Value::Int(n) if n == expected),
            "{:?}",
            pickle.root
        );
        assert_eq!(pickle.length, bytes.len());
    }
}

#[test]
fn containers_and_memory() {
    // ({'a': [1, 1]}, the same dict), memoised before it was filled
    let stream = b"\x80\x02}q\x00X\x01\x00\x00\x00a](K\x01K\x01esh\x00\x86.";
    let pickle = read(stream, Beside::Nothing).unwrap();
    let Some(Object::Tuple(pair)) = pickle.object(pickle.root) else {
        panic!("{pickle:?}")
    };
    for &same in pair {
        let Some(Object::Dict(entries)) = pickle.object(same) else {
            panic!("{pickle:?}")
        };
        assert_eq!(pickle.text(entries[0].0), Some("a"));
        let Some(Object::List(items)) = pickle.object(entries[0].1) else {
            panic!("{pickle:?}")
        };
        assert!(matches!(items.as_slice(), [Value::Int(1), Value::Int(1)]));
    }
}

#[test]
fn what_it_would_have_to_run_is_named() {
    let why = "only tensors, arrays and plain containers are read";
    assert_eq!(
        text_of(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."),
        format!("pickle, byte 2: refuses to run posix.system; {why}")
    );
    assert_eq!(
        text_of(b"\x80\x04\x8c\x05torch\x8c\x04load\x93."),
        format!("pickle, byte 15: refuses to run torch.load; {why}")
    );
    assert_eq!(
        text_of(b"ctorch.nn.modules.conv\nConv2d\n."),
        format!("pickle, byte 0: refuses to run torch.nn.modules.conv.Conv2d; {why}")
    );
    // A class with a known name in another module, and storages nobody knows.
    assert!(text_of(b"cos\nOrderedDict\n.").contains("os.OrderedDict"));
    assert!(text_of(b"ctorch\nQInt8Storage\n.").contains("torch.QInt8Storage"));
}

#[test]
fn broken_streams_say_where() {
    for (stream, expected) in [
        (&b""[..], "pickle, byte 0: expected 1 bytes more, got 0"),
        (b"\x80\x02", "pickle, byte 2: expected 1 bytes more, got 0"),
        (b"\x80\x06", "pickle, byte 0: expected pickle protocol 2 to 5, got 6"),
        (
            b"N\xee",
            "pickle, byte 1: expected an opcode of protocols 2 to 5 without code, got 0xee",
        ),
        (
            b"N\x97",
            "pickle, byte 1: expected an opcode of protocols 2 to 5 without code, got 0x97",
        ),
        (
            b"N\x82\x01",
            "pickle, byte 1: expected an opcode of protocols 2 to 5 without code, got 0x82",
        ),
        (
            b"X\xff\xff\xff\xffa",
            "pickle, byte 0: expected 4294967295 bytes more, got 1",
        ),
        (
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa",
            "pickle, byte 0: expected 18446744073709551615 bytes more, got 1",
        ),
        (b".", "pickle, byte 0: expected a value on the stack, got none"),
        (b"N(0", "pickle, byte 2: expected a value on the stack, got none"),
        (b"Nt", "pickle, byte 1: expected a mark on the stack, got none"),
        (
            b"Nr\x00\x00\x00\x80j\x00\x00\x00\x70.",
            "pickle, byte 6: expected a value remembered as 1879048192, got none",
        ),
        (b"}(Nu", "pickle, byte 3: expected a value for every key, got one less"),
        (b"NNa", "pickle, byte 2: expected a list, got None"),
        (b"NN\x86)R", "pickle, byte 4: expected something to call, got a tuple"),
        (
            b"NQ",
            "pickle, byte 1: expected a pickle that stands alone, got a persistent id",
        ),
        (
            b"ctorch\nSize\n)R",
            "pickle, byte 13: expected the arguments of Size, got others",
        ),
        (
            b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R",
            "pickle, byte 21: expected a numpy type of numbers, got \"O8\"",
        ),
        (
            b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R(K\x03U\x01>tb",
            "pickle, byte 29: expected little-endian numbers, got the order Some(\">\")",
        ),
    ] {
        assert_eq!(text_of(stream), expected);
    }
}

#[test]
fn neither_depth_nor_number_is_unlimited() {
    // Nested as deep as it gets: read, and dropped, without a stack of that depth.
    let mut deep = vec![b')'];
    deep.extend([0x85; 1_000_000]);
    deep.push(b'.');
    let pickle = read(&deep, Beside::Nothing).unwrap();
    assert_eq!(pickle.objects.len(), 1_000_001);
    drop(pickle);

    let endless = vec![b'('; 4_000_000];
    assert_eq!(
        text_of(&endless),
        "pickle, byte 1999999: expected at most 2000000 opcodes, got more"
    );
    // The same long tuple as arguments, again and again.
    let mut again = b"(".to_vec();
    again.extend([b'N'; 100_000]);
    again.extend(b"tq\x00ctorch\nSize\nh\x00R");
    assert!(text_of(&again).ends_with("expected a short tuple, got a tuple"));
}

#[test]
fn a_stream_within_a_stream_holds_no_further_one() {
    let load = |stream: &[u8]| {
        let mut outer = b"ctorch.storage\n_load_from_bytes\nB".to_vec();
        outer.extend((stream.len() as u32).to_le_bytes());
        outer.extend(stream);
        outer.extend(b"\x85R.");
        outer
    };
    let once = load(b"N.");
    assert_eq!(
        text_of(&once),
        "pickle, byte 40: in the storage given: pickle, byte 2: expected 1 bytes more, got 0"
    );
    let expected = "expected the arguments of LoadFromBytes, got others";
    assert!(text_of(&load(&once)).ends_with(expected), "{}", text_of(&load(&once)));
}
