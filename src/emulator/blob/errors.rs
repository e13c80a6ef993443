//! Every error that Blob Storage gives here: status, code and message, literally, in one table, and how they look on
//! the wire. Knows no state.

use super::state::Tick;
use super::xml::Xml;
use crate::emulator::wire::Response;
use hyper::StatusCode;

/// An error code of the service. Those recorded from Azure are marked REC; the others are in Microsoft's list of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    status: StatusCode,
    name: &'static str,
    message: &'static str,
}

const AUTHENTICATE: &str =
    "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
const CONDITION: &str = "The condition specified using HTTP conditional header(s) is not met.";

impl Code {
    pub(super) const AUTHORIZATION_PERMISSION_MISMATCH: Code = Code::new(
        StatusCode::FORBIDDEN,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    );
    // REC py/test_create_small_block_blob_with_no_overwrite #2.
    pub(super) const BLOB_ALREADY_EXISTS: Code =
        Code::new(StatusCode::CONFLICT, "BlobAlreadyExists", "The specified blob already exists.");
    pub(super) const BLOB_ARCHIVED: Code =
        Code::new(StatusCode::CONFLICT, "BlobArchived", "This operation is not permitted on an archived blob.");
    // REC go/TestSetLegalHold #4.
    pub(super) const BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD: Code = Code::new(
        StatusCode::CONFLICT,
        "BlobImmutableDueToLegalHold",
        "This operation is not permitted as the blob is immutable due to one or more legal holds.",
    );
    // REC go/TestSetImmutabilityPolicy #4.
    pub(super) const BLOB_IMMUTABLE_DUE_TO_POLICY: Code = Code::new(
        StatusCode::CONFLICT,
        "BlobImmutableDueToPolicy",
        "This operation is not permitted as the blob is immutable due to a policy.",
    );
    pub(super) const BLOB_NOT_FOUND: Code =
        Code::new(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.");
    // REC go/TestBlockBlobSetTierOnVersions #15.
    pub(super) const BLOB_OPERATION_NOT_SUPPORTED: Code =
        Code::new(StatusCode::CONFLICT, "BlobOperationNotSupported", "Blob operation is not supported.");
    // REC go/TestBlobPutBlobIfNoneMatchFalse #3.
    pub(super) const CONDITION_NOT_MET: Code = Code::new(StatusCode::PRECONDITION_FAILED, "ConditionNotMet", CONDITION);
    // REC py/test_delete_specific_blob_version #0.
    pub(super) const CONTAINER_ALREADY_EXISTS: Code =
        Code::new(StatusCode::CONFLICT, "ContainerAlreadyExists", "The specified container already exists.");
    // MicrosoftDocs/feedback#1844 for both.
    pub(super) const CONTAINER_HAS_LEGAL_HOLD: Code = Code::new(
        StatusCode::CONFLICT,
        "ContainerHasLegalHold",
        "The requested operation is not allowed as the container has one or more legal holds.",
    );
    pub(super) const CONTAINER_IMMUTABILITY_POLICY_LOCKED: Code = Code::new(
        StatusCode::CONFLICT,
        "ContainerImmutabilityPolicyLocked",
        "The requested operation is not allowed as the container has a locked immutability policy.",
    );
    pub(super) const CONTAINER_NOT_FOUND: Code =
        Code::new(StatusCode::NOT_FOUND, "ContainerNotFound", "The specified container does not exist.");
    pub(super) const CRC64_MISMATCH: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "Crc64Mismatch",
        "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
    );
    pub(super) const INVALID_AUTHENTICATION_INFO: Code =
        Code::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo", AUTHENTICATE);
    pub(super) const INVALID_BLOB_OR_BLOCK: Code =
        Code::new(StatusCode::BAD_REQUEST, "InvalidBlobOrBlock", "The specified blob or block content is invalid.");
    pub(super) const INVALID_BLOCK_ID: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidBlockId",
        "The specified block ID is invalid. The block ID must be Base64-encoded.",
    );
    pub(super) const INVALID_BLOCK_LIST: Code =
        Code::new(StatusCode::BAD_REQUEST, "InvalidBlockList", "The specified block list is invalid.");
    pub(super) const INVALID_HEADER_VALUE: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidHeaderValue",
        "The value for one of the HTTP headers is not in the correct format.",
    );
    pub(super) const INVALID_MD5: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidMd5",
        "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and base64 encoded.",
    );
    pub(super) const INVALID_METADATA: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidMetadata",
        "The metadata specified is invalid. It has characters that are not permitted.",
    );
    pub(super) const INVALID_QUERY_PARAMETER_VALUE: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidQueryParameterValue",
        "Value for one of the query parameters specified in the request URI is invalid.",
    );
    pub(super) const INVALID_RANGE: Code = Code::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "InvalidRange",
        "The range specified is invalid for the current size of the resource.",
    );
    // The missing letter is Azure's.
    pub(super) const INVALID_RESOURCE_NAME: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidResourceName",
        "The specifed resource name contains invalid characters.",
    );
    pub(super) const INVALID_URI: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "InvalidUri",
        "The requested URI does not represent any resource on the server.",
    );
    pub(super) const INVALID_XML_DOCUMENT: Code =
        Code::new(StatusCode::BAD_REQUEST, "InvalidXmlDocument", "XML specified is not syntactically valid.");
    pub(super) const KEY_BASED_AUTHENTICATION_NOT_PERMITTED: Code = Code::new(
        StatusCode::FORBIDDEN,
        "KeyBasedAuthenticationNotPermitted",
        "Key based authentication is not permitted on this storage account.",
    );
    pub(super) const MD5_MISMATCH: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "Md5Mismatch",
        "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
    );
    pub(super) const METADATA_TOO_LARGE: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "MetadataTooLarge",
        "The size of the specified metadata exceeds the maximum size permitted.",
    );
    pub(super) const MISSING_REQUIRED_HEADER: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "MissingRequiredHeader",
        "An HTTP header that's mandatory for this request is not specified.",
    );
    pub(super) const MISSING_REQUIRED_QUERY_PARAMETER: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "MissingRequiredQueryParameter",
        "A query parameter that's mandatory for this request is not specified.",
    );
    pub(super) const NO_AUTHENTICATION_INFORMATION: Code =
        Code::new(StatusCode::UNAUTHORIZED, "NoAuthenticationInformation", AUTHENTICATE);
    // Not Azure's: the emulator says that it is at its end, instead of pretending.
    pub(super) const NOT_EMULATED: Code =
        Code::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", "The emulator does not offer this operation.");
    pub(super) const NOT_MODIFIED: Code = Code::new(StatusCode::NOT_MODIFIED, "ConditionNotMet", CONDITION);
    // REC js/deleting_root_blob_with_versionid_should_fail #5.
    pub(super) const OPERATION_NOT_ALLOWED_ON_ROOT_BLOB: Code = Code::new(
        StatusCode::FORBIDDEN,
        "OperationNotAllowedOnRootBlob",
        "The specified operation is not allowed on root blob.",
    );
    pub(super) const OUT_OF_RANGE_QUERY_PARAMETER_VALUE: Code = Code::new(
        StatusCode::BAD_REQUEST,
        "OutOfRangeQueryParameterValue",
        "One of the query parameters specified in the request URI is outside the permissible range.",
    );
    pub(super) const UNSUPPORTED_HTTP_VERB: Code = Code::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "UnsupportedHttpVerb",
        "The resource doesn't support specified Http Verb.",
    );

    const fn new(status: StatusCode, name: &'static str, message: &'static str) -> Code {
        Code { status, name, message }
    }
}

/// An error with what Azure adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    details: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal { code, details: Vec::new(), headers: Vec::new() }
    }
}

impl Refusal {
    /// Adds an element to the body.
    pub(super) fn with(mut self, element: &'static str, text: impl Into<String>) -> Self {
        self.details.push((element, text.into()));
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A header that cannot be taken as it is.
    pub(super) fn bad_header(name: &str, value: &str) -> Self {
        Refusal::from(Code::INVALID_HEADER_VALUE).with("HeaderName", name).with("HeaderValue", value)
    }

    /// A header that is missing.
    pub(super) fn no_header(name: &str) -> Self {
        Refusal::from(Code::MISSING_REQUIRED_HEADER).with("HeaderName", name)
    }

    /// A query parameter that cannot be taken as it is.
    pub(super) fn bad_query(name: &str, value: &str) -> Self {
        Refusal::from(Code::INVALID_QUERY_PARAMETER_VALUE)
            .with("QueryParameterName", name)
            .with("QueryParameterValue", value)
    }

    /// The response. To a HEAD it has no body, and the header alone carries the code (REC js/undelete #5).
    pub(super) fn response(self, head: bool, request_id: &str, tick: Tick) -> Response {
        let Code { status, name, message } = self.code;
        let mut response = Response::new(status).header("x-ms-error-code", name);
        for (header, value) in self.headers {
            response = response.header(header, value);
        }
        if head || status == StatusCode::NOT_MODIFIED {
            return response;
        }
        let mut xml = Xml::new();
        let message = format!("{message}\nRequestId:{request_id}\nTime:{}", tick.iso());
        xml.open("Error", &[]).leaf("Code", name).leaf("Message", &message);
        for (element, text) in &self.details {
            xml.leaf(element, text);
        }
        xml.close("Error");
        response.header("content-type", "application/xml").body(xml.finish())
    }
}
