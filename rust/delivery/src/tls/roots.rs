//! Who is trusted to vouch for names: Mozilla's list, and the operator's own authorities.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::error::EngineError;

/// Trust anchors of the web PKI.
#[derive(Clone, Debug)]
pub(crate) struct Roots(pub(crate) RootCertStore);

impl Roots {
    /// Mozilla's, and those of a PEM file unless its name is empty.
    pub(crate) fn load(file: &Path) -> Result<Self, EngineError> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        if file.as_os_str().is_empty() {
            return Ok(Self(roots));
        }
        let wrong = |cause: String| {
            EngineError::Settings(format!("tls_ca_file: {}: {cause}", file.display()))
        };
        let found = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
            roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        }
        Ok(Self(roots))
    }
}
