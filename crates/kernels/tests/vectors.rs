//! Published test vectors: the GCM specification's test cases with 96-bit
//! nonces.

mod support;

use gipsec_kernels::gcm::TagMismatch;
use support::{available, expand};

/// One published case; the fields are hexadecimal.
struct Case {
    key: &'static str,
    nonce: &'static str,
    aad: &'static str,
    plaintext: &'static str,
    ciphertext: &'static str,
    tag: &'static str,
}

const KEY_128: &str = "feffe9928665731c6d6a8f9467308308";
const KEY_192: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c";
const KEY_256: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const NONCE: &str = "cafebabefacedbaddecaf888";
const AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const TEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const TEXT_60: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                       1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const ZERO_NONCE: &str = "000000000000000000000000";
const ZERO_BLOCK: &str = "00000000000000000000000000000000";
const ZERO_192: &str = "000000000000000000000000000000000000000000000000";
const ZERO_256: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const OUT_128: &str = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                       21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985";
const OUT_192: &str = "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c\
                       7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710acade256";
const OUT_256: &str = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                       8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";

/// Test cases 1-4, 7-10 and 13-16 of the GCM specification.
fn cases() -> [Case; 12] {
    let case = |key, nonce, aad, plaintext, ciphertext, tag| Case { key, nonce, aad, plaintext, ciphertext, tag };
    [
        case(ZERO_BLOCK, ZERO_NONCE, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"),
        case(
            ZERO_BLOCK,
            ZERO_NONCE,
            "",
            ZERO_BLOCK,
            "0388dace60b6a392f328c2b971b2fe78",
            "ab6e47d42cec13bdf53a67b21257bddf",
        ),
        case(KEY_128, NONCE, "", TEXT, OUT_128, "4d5c2af327cd64a62cf35abd2ba6fab4"),
        case(KEY_128, NONCE, AAD, TEXT_60, OUT_128, "5bc94fbc3221a5db94fae95ae7121a47"),
        case(ZERO_192, ZERO_NONCE, "", "", "", "cd33b28ac773f74ba00ed1f312572435"),
        case(
            ZERO_192,
            ZERO_NONCE,
            "",
            ZERO_BLOCK,
            "98e7247c07f0fe411c267e4384b0f600",
            "2ff58d80033927ab8ef4d4587514f0fb",
        ),
        case(KEY_192, NONCE, "", TEXT, OUT_192, "9924a7c8587336bfb118024db8674a14"),
        case(KEY_192, NONCE, AAD, TEXT_60, OUT_192, "2519498e80f1478f37ba55bd6d27618c"),
        case(ZERO_256, ZERO_NONCE, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        case(
            ZERO_256,
            ZERO_NONCE,
            "",
            ZERO_BLOCK,
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        case(KEY_256, NONCE, "", TEXT, OUT_256, "b094dac5d93471bdec1a502270e3cc6c"),
        case(KEY_256, NONCE, AAD, TEXT_60, OUT_256, "76fc6ece0f4e1768cddf8853bb2d551b"),
    ]
}

fn decode(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn published_cases() {
    for backend in available() {
        for (index, case) in cases().iter().enumerate() {
            let context = format!("{backend:?} case {index}");
            let key = expand(&decode(case.key), backend);
            let nonce = decode(case.nonce).try_into().unwrap();
            let (aad, plaintext) = (decode(case.aad), decode(case.plaintext));
            let ciphertext = &decode(case.ciphertext)[..plaintext.len()];
            let mut output = vec![0; plaintext.len()];
            let tag = key.seal(&nonce, &aad, &plaintext, &mut output);
            assert_eq!(output, ciphertext, "{context}");
            assert_eq!(tag.as_slice(), decode(case.tag), "{context}");
            let mut opened = vec![1; output.len()];
            assert_eq!(key.open(&nonce, &aad, &output, &tag, &mut opened), Ok(()), "{context}");
            assert_eq!(opened, plaintext, "{context}");
            let result = key.open(&nonce, &aad, &output, &[0; 16], &mut opened);
            assert_eq!(result, Err(TagMismatch), "{context}");
        }
    }
}
