//! The specifications that come with the program, embedded in it. The files are the source; this is only their list.

macro_rules! embedded {
    ($name:literal) => {
        ($name, include_str!(concat!("../builtin/", $name)))
    };
}

/// Name and text of each file.
pub(crate) const FILES: [(&str, &str); 29] = [
    embedded!("blis.dasum.xml"),
    embedded!("blis.daxpy.xml"),
    embedded!("blis.dcopy.xml"),
    embedded!("blis.ddot.xml"),
    embedded!("blis.dgemm.xml"),
    embedded!("blis.dnrm2.xml"),
    embedded!("blis.dscal.xml"),
    embedded!("blis.sasum.xml"),
    embedded!("blis.saxpy.xml"),
    embedded!("blis.scopy.xml"),
    embedded!("blis.sdot.xml"),
    embedded!("blis.sgemm.xml"),
    embedded!("blis.snrm2.xml"),
    embedded!("blis.sscal.xml"),
    embedded!("playground.xml"),
    embedded!("vector.dcos.xml"),
    embedded!("vector.dexp.xml"),
    embedded!("vector.dlog.xml"),
    embedded!("vector.dsin.xml"),
    embedded!("vector.dsqrt.xml"),
    embedded!("vector.dtan.xml"),
    embedded!("vector.dtanh.xml"),
    embedded!("vector.scos.xml"),
    embedded!("vector.sexp.xml"),
    embedded!("vector.slog.xml"),
    embedded!("vector.ssin.xml"),
    embedded!("vector.ssqrt.xml"),
    embedded!("vector.stan.xml"),
    embedded!("vector.stanh.xml"),
];
