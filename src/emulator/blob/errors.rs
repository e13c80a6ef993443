//! Every error that Blob Storage gives here: status, code and message, literally, in one table, and how they look on
//! the wire. Knows no state.

use super::state::Tick;
use super::xml::Xml;
use crate::emulator::wire::Response;
use hyper::StatusCode;

/// An error code. Those recorded from Azure are marked REC; the others are from Microsoft's list of error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    AuthorizationPermissionMismatch,
    BlobAlreadyExists,
    BlobArchived,
    BlobImmutableDueToLegalHold,
    BlobImmutableDueToPolicy,
    BlobNotFound,
    BlobOperationNotSupported,
    ConditionNotMet,
    ContainerAlreadyExists,
    ContainerHasLegalHold,
    ContainerImmutabilityPolicyLocked,
    ContainerNotFound,
    Crc64Mismatch,
    InvalidAuthenticationInfo,
    InvalidBlobOrBlock,
    InvalidBlockId,
    InvalidBlockList,
    InvalidHeaderValue,
    InvalidMd5,
    InvalidMetadata,
    InvalidQueryParameterValue,
    InvalidRange,
    InvalidResourceName,
    InvalidUri,
    InvalidXmlDocument,
    KeyBasedAuthenticationNotPermitted,
    Md5Mismatch,
    MetadataTooLarge,
    MissingRequiredHeader,
    MissingRequiredQueryParameter,
    NoAuthenticationInformation,
    NotEmulated,
    NotModified,
    OperationNotAllowedOnRootBlob,
    OutOfRangeQueryParameterValue,
    UnsupportedHttpVerb,
}

impl Code {
    /// Status, code on the wire, message.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        const AUTHENTICATE: &str = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
        const CONDITION: &str = "The condition specified using HTTP conditional header(s) is not met.";
        match self {
            Code::AuthorizationPermissionMismatch => (
                S::FORBIDDEN,
                "AuthorizationPermissionMismatch",
                "This request is not authorized to perform this operation using this permission.",
            ),
            // REC py/test_create_small_block_blob_with_no_overwrite #2.
            Code::BlobAlreadyExists => (S::CONFLICT, "BlobAlreadyExists", "The specified blob already exists."),
            Code::BlobArchived => (S::CONFLICT, "BlobArchived", "This operation is not permitted on an archived blob."),
            // REC go/TestSetLegalHold #4.
            Code::BlobImmutableDueToLegalHold => (
                S::CONFLICT,
                "BlobImmutableDueToLegalHold",
                "This operation is not permitted as the blob is immutable due to one or more legal holds.",
            ),
            // REC go/TestSetImmutabilityPolicy #4.
            Code::BlobImmutableDueToPolicy => (
                S::CONFLICT,
                "BlobImmutableDueToPolicy",
                "This operation is not permitted as the blob is immutable due to a policy.",
            ),
            Code::BlobNotFound => (S::NOT_FOUND, "BlobNotFound", "The specified blob does not exist."),
            // REC go/TestBlockBlobSetTierOnVersions #15.
            Code::BlobOperationNotSupported => {
                (S::CONFLICT, "BlobOperationNotSupported", "Blob operation is not supported.")
            }
            // REC go/TestBlobPutBlobIfNoneMatchFalse #3.
            Code::ConditionNotMet => (S::PRECONDITION_FAILED, "ConditionNotMet", CONDITION),
            // REC py/test_delete_specific_blob_version #0.
            Code::ContainerAlreadyExists => {
                (S::CONFLICT, "ContainerAlreadyExists", "The specified container already exists.")
            }
            // MicrosoftDocs/feedback#1844 for both.
            Code::ContainerHasLegalHold => (
                S::CONFLICT,
                "ContainerHasLegalHold",
                "The requested operation is not allowed as the container has one or more legal holds.",
            ),
            Code::ContainerImmutabilityPolicyLocked => (
                S::CONFLICT,
                "ContainerImmutabilityPolicyLocked",
                "The requested operation is not allowed as the container has a locked immutability policy.",
            ),
            Code::ContainerNotFound => (S::NOT_FOUND, "ContainerNotFound", "The specified container does not exist."),
            Code::Crc64Mismatch => (
                S::BAD_REQUEST,
                "Crc64Mismatch",
                "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
            ),
            Code::InvalidAuthenticationInfo => (S::UNAUTHORIZED, "InvalidAuthenticationInfo", AUTHENTICATE),
            Code::InvalidBlobOrBlock => {
                (S::BAD_REQUEST, "InvalidBlobOrBlock", "The specified blob or block content is invalid.")
            }
            Code::InvalidBlockId => (
                S::BAD_REQUEST,
                "InvalidBlockId",
                "The specified block ID is invalid. The block ID must be Base64-encoded.",
            ),
            Code::InvalidBlockList => (S::BAD_REQUEST, "InvalidBlockList", "The specified block list is invalid."),
            Code::InvalidHeaderValue => (
                S::BAD_REQUEST,
                "InvalidHeaderValue",
                "The value for one of the HTTP headers is not in the correct format.",
            ),
            Code::InvalidMd5 => (
                S::BAD_REQUEST,
                "InvalidMd5",
                "The MD5 value specified in the request is invalid. MD5 value must be 128 bits and base64 encoded.",
            ),
            Code::InvalidMetadata => (
                S::BAD_REQUEST,
                "InvalidMetadata",
                "The metadata specified is invalid. It has characters that are not permitted.",
            ),
            Code::InvalidQueryParameterValue => (
                S::BAD_REQUEST,
                "InvalidQueryParameterValue",
                "Value for one of the query parameters specified in the request URI is invalid.",
            ),
            Code::InvalidRange => (
                S::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                "The range specified is invalid for the current size of the resource.",
            ),
            // The missing letter is Azure's.
            Code::InvalidResourceName => {
                (S::BAD_REQUEST, "InvalidResourceName", "The specifed resource name contains invalid characters.")
            }
            Code::InvalidUri => {
                (S::BAD_REQUEST, "InvalidUri", "The requested URI does not represent any resource on the server.")
            }
            Code::InvalidXmlDocument => {
                (S::BAD_REQUEST, "InvalidXmlDocument", "XML specified is not syntactically valid.")
            }
            Code::KeyBasedAuthenticationNotPermitted => (
                S::FORBIDDEN,
                "KeyBasedAuthenticationNotPermitted",
                "Key based authentication is not permitted on this storage account.",
            ),
            Code::Md5Mismatch => (
                S::BAD_REQUEST,
                "Md5Mismatch",
                "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
            ),
            Code::MetadataTooLarge => (
                S::BAD_REQUEST,
                "MetadataTooLarge",
                "The size of the specified metadata exceeds the maximum size permitted.",
            ),
            Code::MissingRequiredHeader => (
                S::BAD_REQUEST,
                "MissingRequiredHeader",
                "An HTTP header that's mandatory for this request is not specified.",
            ),
            Code::MissingRequiredQueryParameter => (
                S::BAD_REQUEST,
                "MissingRequiredQueryParameter",
                "A query parameter that's mandatory for this request is not specified.",
            ),
            Code::NoAuthenticationInformation => (S::UNAUTHORIZED, "NoAuthenticationInformation", AUTHENTICATE),
            // Not Azure's: the emulator says that it is at its end, instead of pretending.
            Code::NotEmulated => (S::NOT_IMPLEMENTED, "NotImplemented", "The emulator does not offer this operation."),
            Code::NotModified => (S::NOT_MODIFIED, "ConditionNotMet", CONDITION),
            // REC js/deleting_root_blob_with_versionid_should_fail #5.
            Code::OperationNotAllowedOnRootBlob => {
                (S::FORBIDDEN, "OperationNotAllowedOnRootBlob", "The specified operation is not allowed on root blob.")
            }
            Code::OutOfRangeQueryParameterValue => (
                S::BAD_REQUEST,
                "OutOfRangeQueryParameterValue",
                "One of the query parameters specified in the request URI is outside the permissible range.",
            ),
            Code::UnsupportedHttpVerb => {
                (S::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")
            }
        }
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
        Refusal::from(Code::InvalidHeaderValue).with("HeaderName", name).with("HeaderValue", value)
    }

    /// A header that is missing.
    pub(super) fn no_header(name: &str) -> Self {
        Refusal::from(Code::MissingRequiredHeader).with("HeaderName", name)
    }

    /// A query parameter that cannot be taken as it is.
    pub(super) fn bad_query(name: &str, value: &str) -> Self {
        Refusal::from(Code::InvalidQueryParameterValue)
            .with("QueryParameterName", name)
            .with("QueryParameterValue", value)
    }

    /// The response. The server keeps the body from those who asked by HEAD; the header carries the code to all (REC).
    pub(super) fn response(self, request_id: &str, tick: Tick) -> Response {
        let (status, code, message) = self.code.facts();
        let mut response = Response::new(status).header("x-ms-error-code", code);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        if status == StatusCode::NOT_MODIFIED {
            return response;
        }
        let mut xml = Xml::new();
        let message = format!("{message}\nRequestId:{request_id}\nTime:{}", tick.iso());
        xml.open("Error", &[]).leaf("Code", code).leaf("Message", &message);
        for (element, text) in &self.details {
            xml.leaf(element, text);
        }
        xml.close("Error");
        response.header("content-type", "application/xml").body(xml.finish())
    }
}
