//! Where a bucket is, and who asks.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::Bucket;
use super::cloud::Cloud;
use super::http::Connector;

/// How a bucket is reached. Credentials come from the provider's own chain: for S3 the environment
/// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), a web identity, a container's or an instance's
/// role; for Google `GOOGLE_APPLICATION_CREDENTIALS`, the well-known file, or the instance's account; for Azure
/// `AZURE_STORAGE_ACCOUNT_KEY`, a service principal, a federated token, or the instance's identity.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    /// `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
    pub url: String,
    /// Another endpoint than the provider's public one, such as that of a store of one's own.
    pub endpoint: Option<String>,
    /// S3's region; the environment's otherwise (`AWS_REGION`).
    pub region: Option<String>,
    /// How long each object is locked from when it is written; `None` for not at all.
    pub retention: Option<Duration>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Settings of the provider's, by the names that `object_store` gives them, over those of the environment.
    pub options: Vec<(String, String)>,
}

/// Why a bucket cannot be used, before anything was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It is none of the three kinds of URL.
    #[error("a bucket is s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")]
    Url,
    /// The endpoint is no URL.
    #[error("the bucket's endpoint must be an http or https URL")]
    Endpoint,
    /// Nothing says which region.
    #[error("nothing says in which region the bucket is")]
    Region,
    /// Azure needs the account's name.
    #[error("nothing says which storage account it is: AZURE_STORAGE_ACCOUNT_NAME does")]
    Account,
    /// The provider's own settings cannot be used.
    #[error("the provider's settings cannot be used")]
    Provider(#[source] object_store::Error),
    /// No threads.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
}

/// Whether a text names a bucket, and not a directory.
pub(super) fn parts(url: &str) -> Option<(&str, &str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte));
    let prefix = prefix.trim_matches('/');
    let segments = || prefix.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..");
    if !["s3", "gs", "az"].contains(&scheme) || bucket.is_empty() || !plain(bucket) || !plain(prefix) {
        return None;
    }
    match prefix {
        "" => Some((scheme, bucket, String::new())),
        _ if segments() => Some((scheme, bucket, format!("{prefix}/"))),
        _ => None,
    }
}

impl BucketSettings {
    /// Whether a target is a bucket's URL.
    pub fn is_bucket(target: &str) -> bool {
        parts(target).is_some()
    }

    pub(super) fn bucket(&self) -> Result<Bucket, SettingsError> {
        let (scheme, bucket, prefix) = parts(&self.url).ok_or(SettingsError::Url)?;
        let endpoint = match &self.endpoint {
            Some(url) => {
                let url = url.trim_end_matches('/');
                let parsed: ::http::Uri = url.parse().map_err(|_| SettingsError::Endpoint)?;
                let known = matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.host().is_some();
                Some(if known { url.to_owned() } else { return Err(SettingsError::Endpoint) })
            }
            None => None,
        };
        let connector = Connector { timeout: self.timeout };
        let retry = RetryConfig { max_retries: 4, retry_timeout: 4 * self.timeout, ..RetryConfig::default() };
        let http = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let (cloud, objects): (Cloud, Box<dyn object_store::ObjectStore>) = match scheme {
            "s3" => {
                use object_store::aws::AmazonS3ConfigKey as Key;
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
                for (key, value) in &self.options {
                    builder = builder.with_config(key.parse().map_err(SettingsError::Provider)?, value);
                }
                if let Some(region) = &self.region {
                    builder = builder.with_region(region);
                }
                let region = builder.get_config_value(&Key::DefaultRegion);
                let region = builder.get_config_value(&Key::Region).or(region).ok_or(SettingsError::Region)?;
                let endpoint = endpoint
                    .or_else(|| builder.get_config_value(&Key::Endpoint))
                    .unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
                let store = builder
                    .with_region(&region)
                    .with_endpoint(&endpoint)
                    .with_virtual_hosted_style_request(false)
                    .with_allow_http(endpoint.starts_with("http://"))
                    .with_http_connector(connector)
                    .build()
                    .map_err(SettingsError::Provider)?;
                let base = format!("{}/{bucket}", endpoint.trim_end_matches('/'));
                (Cloud::S3 { base, region, credentials: store.credentials().clone() }, Box::new(store))
            }
            "gs" => {
                let mut builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(retry)
                    .with_http_connector(connector);
                for (key, value) in &self.options {
                    builder = builder.with_config(key.parse().map_err(SettingsError::Provider)?, value);
                }
                if let Some(endpoint) = &endpoint {
                    builder = builder
                        .with_base_url(endpoint)
                        .with_client_options(object_store::ClientOptions::new().with_allow_http(http));
                }
                let store = builder.build().map_err(SettingsError::Provider)?;
                let base = endpoint.unwrap_or_else(|| "https://storage.googleapis.com".into());
                (
                    Cloud::Google { base, bucket: bucket.to_owned(), credentials: store.credentials().clone() },
                    Box::new(store),
                )
            }
            _ => {
                use object_store::azure::AzureConfigKey as Key;
                let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket).with_retry(retry);
                for (key, value) in &self.options {
                    builder = builder.with_config(key.parse().map_err(SettingsError::Provider)?, value);
                }
                let account = builder.get_config_value(&Key::AccountName).ok_or(SettingsError::Account)?;
                if let Some(endpoint) = &endpoint {
                    builder = builder.with_endpoint(endpoint.clone()).with_allow_http(http);
                }
                let store = builder.with_http_connector(connector).build().map_err(SettingsError::Provider)?;
                let base = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
                let base = format!("{base}/{bucket}");
                (Cloud::Azure { base, account, credentials: store.credentials().clone() }, Box::new(store))
            }
        };
        Ok(Bucket {
            cloud,
            objects,
            http: connector.client(),
            prefix,
            retention: self.retention,
            conditional: AtomicBool::new(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_bucket_is_told_from_a_directory() {
        assert_eq!(parts("s3://b"), Some(("s3", "b", String::new())));
        assert_eq!(parts("s3://b/"), Some(("s3", "b", String::new())));
        assert_eq!(parts("gs://b/a/log/"), Some(("gs", "b", "a/log/".into())));
        assert_eq!(parts("az://b/log"), Some(("az", "b", "log/".into())));
        for other in
            ["b", "/srv/mirror", "s3:/b", "s3://", "ftp://b", "http://b/log", "s3://b/../c", "s3://b/a//c", "s3://b/ü"]
        {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
