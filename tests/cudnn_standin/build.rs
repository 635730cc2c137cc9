fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcudnn.so.9");
}
