//! Keys made for this run.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use pem::{EncodeConfig, LineEnding, Pem, encode_config};

/// A private key to sign with, and the public one in PEM form.
pub struct Pair {
    pub algorithm: Algorithm,
    pub private: EncodingKey,
    pub private_pem: String,
    pub public_pem: String,
}

fn pem(tag: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    encode_config(&Pem::new(tag, der), config)
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    pem("PUBLIC KEY", key.as_der().expect("it can be written").as_ref())
}

pub fn rs256() -> Pair {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("it can be written");
    let private_pem = pem("PRIVATE KEY", der.as_ref());
    let private = EncodingKey::from_rsa_pem(private_pem.as_bytes()).expect("a key");
    Pair { algorithm: Algorithm::RS256, private, private_pem, public_pem: public(key.public_key()) }
}

fn ecdsa(algorithm: Algorithm, signing: &'static EcdsaSigningAlgorithm) -> Pair {
    let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).expect("just made");
    let private_pem = pem("PRIVATE KEY", der.as_ref());
    let private = EncodingKey::from_ec_pem(private_pem.as_bytes()).expect("a key");
    Pair { algorithm, private, private_pem, public_pem: public(key.public_key()) }
}

pub fn es256() -> Pair {
    ecdsa(Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
}

pub fn es384() -> Pair {
    ecdsa(Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
}

pub fn eddsa() -> Pair {
    let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.as_ref()).expect("just made");
    let private_pem = pem("PRIVATE KEY", der.as_ref());
    let private = EncodingKey::from_ed_pem(private_pem.as_bytes()).expect("a key");
    Pair { algorithm: Algorithm::EdDSA, private, private_pem, public_pem: public(key.public_key()) }
}
