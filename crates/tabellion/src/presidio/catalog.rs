//! What Presidio finds by default in which language, and what it calls its recognizers.
//!
//! Presidio's tables are `conf/default_recognizers.yaml` and its predefined recognizers. Without a list of entities a
//! caller gets what Presidio enables by default, weak patterns included; whatever else the engine finds is found for those
//! who ask for it by name.

use tabellion_detect::Engine;

use super::Refusal;

/// A recognizer of Presidio's.
struct Known {
    entity: &'static str,
    class: &'static str,
    /// The languages that Presidio has it for; none for all.
    languages: &'static [&'static str],
    /// Used without being asked for.
    by_default: bool,
}

const fn on(entity: &'static str, class: &'static str, languages: &'static [&'static str]) -> Known {
    Known { entity, class, languages, by_default: true }
}

const fn off(entity: &'static str, class: &'static str, languages: &'static [&'static str]) -> Known {
    Known { entity, class, languages, by_default: false }
}

const KNOWN: &[Known] = &[
    // In any language.
    on("CREDIT_CARD", "CreditCardRecognizer", &[]),
    on("CRYPTO", "CryptoRecognizer", &[]),
    on("DATE_TIME", "DateRecognizer", &[]),
    on("EMAIL_ADDRESS", "EmailRecognizer", &[]),
    on("IBAN_CODE", "IbanRecognizer", &[]),
    on("IP_ADDRESS", "IpRecognizer", &[]),
    on("MAC_ADDRESS", "MacAddressRecognizer", &[]),
    on("MEDICAL_LICENSE", "MedicalLicenseRecognizer", &[]),
    on("PHONE_NUMBER", "PhoneRecognizer", &[]),
    on("URL", "UrlRecognizer", &[]),
    // By a language model, there and here.
    on("PERSON", "SpacyRecognizer", &[]),
    on("LOCATION", "SpacyRecognizer", &[]),
    on("NRP", "SpacyRecognizer", &[]),
    off("ORGANIZATION", "SpacyRecognizer", &[]),
    // The United States and the United Kingdom.
    on("UK_NHS", "NhsRecognizer", &["en"]),
    on("US_BANK_NUMBER", "UsBankRecognizer", &["en"]),
    on("US_DRIVER_LICENSE", "UsLicenseRecognizer", &["en"]),
    on("US_ITIN", "UsItinRecognizer", &["en"]),
    on("US_PASSPORT", "UsPassportRecognizer", &["en"]),
    on("US_SSN", "UsSsnRecognizer", &["en"]),
    off("ABA_ROUTING_NUMBER", "AbaRoutingRecognizer", &["en"]),
    off("UK_DRIVING_LICENCE", "UkDrivingLicenceRecognizer", &["en"]),
    off("UK_NINO", "UkNinoRecognizer", &["en"]),
    off("UK_PASSPORT", "UkPassportRecognizer", &["en"]),
    off("UK_POSTCODE", "UkPostcodeRecognizer", &["en"]),
    off("UK_VEHICLE_REGISTRATION", "UkVehicleRegistrationRecognizer", &["en"]),
    off("US_MBI", "UsMbiRecognizer", &["en"]),
    off("US_NPI", "UsNpiRecognizer", &["en"]),
    // Other countries, alphabetically.
    off("AU_ABN", "AuAbnRecognizer", &["en"]),
    off("AU_ACN", "AuAcnRecognizer", &["en"]),
    off("AU_MEDICARE", "AuMedicareRecognizer", &["en"]),
    off("AU_TFN", "AuTfnRecognizer", &["en"]),
    off("CA_SIN", "CaSinRecognizer", &["en", "fr"]),
    off("DE_BSNR", "DeBsnrRecognizer", &["de"]),
    off("DE_FUEHRERSCHEIN", "DeFuehrerscheinRecognizer", &["de"]),
    off("DE_HANDELSREGISTER", "DeHandelsregisterRecognizer", &["de"]),
    off("DE_HEALTH_INSURANCE", "DeHealthInsuranceRecognizer", &["de"]),
    off("DE_ID_CARD", "DeIdCardRecognizer", &["de"]),
    off("DE_KFZ", "DeKfzRecognizer", &["de"]),
    off("DE_LANR", "DeLanrRecognizer", &["de"]),
    off("DE_PASSPORT", "DePassportRecognizer", &["de"]),
    off("DE_PLZ", "DePlzRecognizer", &["de"]),
    off("DE_SOCIAL_SECURITY", "DeSocialSecurityRecognizer", &["de"]),
    off("DE_TAX_ID", "DeTaxIdRecognizer", &["de"]),
    off("DE_TAX_NUMBER", "DeTaxNumberRecognizer", &["de"]),
    off("DE_VAT_ID", "DeVatIdRecognizer", &["de"]),
    on("ES_NIE", "EsNieRecognizer", &["es"]),
    on("ES_NIF", "EsNifRecognizer", &["es"]),
    off("ES_PASSPORT", "EsPassportRecognizer", &["es"]),
    off("FI_PERSONAL_IDENTITY_CODE", "FiPersonalIdentityCodeRecognizer", &["fi"]),
    off("IN_AADHAAR", "InAadhaarRecognizer", &["en"]),
    off("IN_GSTIN", "InGstinRecognizer", &["en"]),
    off("IN_PAN", "InPanRecognizer", &["en"]),
    off("IN_PASSPORT", "InPassportRecognizer", &["en"]),
    off("IN_VEHICLE_REGISTRATION", "InVehicleRegistrationRecognizer", &["en"]),
    off("IN_VOTER", "InVoterRecognizer", &["en"]),
    on("IT_DRIVER_LICENSE", "ItDriverLicenseRecognizer", &["it"]),
    on("IT_FISCAL_CODE", "ItFiscalCodeRecognizer", &["it"]),
    on("IT_IDENTITY_CARD", "ItIdentityCardRecognizer", &["it"]),
    on("IT_PASSPORT", "ItPassportRecognizer", &["it"]),
    on("IT_VAT_CODE", "ItVatCodeRecognizer", &["it"]),
    off("KR_BRN", "KrBrnRecognizer", &["ko", "kr"]),
    off("KR_DRIVER_LICENSE", "KrDriverLicenseRecognizer", &["ko", "kr"]),
    off("KR_FRN", "KrFrnRecognizer", &["ko", "kr"]),
    off("KR_PASSPORT", "KrPassportRecognizer", &["ko", "kr"]),
    off("KR_RRN", "KrRrnRecognizer", &["ko", "kr"]),
    off("NG_NIN", "NgNinRecognizer", &["en"]),
    off("NG_VEHICLE_REGISTRATION", "NgVehicleRegistrationRecognizer", &["en"]),
    off("PH_TIN", "PhTinRecognizer", &["en"]),
    on("PL_PESEL", "PlPeselRecognizer", &["pl"]),
    off("SE_ORGANISATIONSNUMMER", "SeOrganisationsnummerRecognizer", &["sv"]),
    off("SE_PERSONNUMMER", "SePersonnummerRecognizer", &["sv"]),
    off("SG_NRIC_FIN", "SgFinRecognizer", &["en"]),
    off("SG_UEN", "SgUenRecognizer", &["en"]),
    off("TH_TNIN", "ThTninRecognizer", &["th"]),
    off("TR_LICENSE_PLATE", "TrLicensePlateRecognizer", &["tr"]),
    off("TR_NATIONAL_ID", "TrNationalIdRecognizer", &["tr"]),
    off("ZA_ID_NUMBER", "ZaIdNumberRecognizer", &["en"]),
];

/// The languages that Presidio has recognizers for.
const LANGUAGES: [&str; 12] = ["de", "en", "es", "fi", "fr", "it", "ko", "kr", "pl", "sv", "th", "tr"];

impl Known {
    fn speaks(&self, language: &str) -> bool {
        self.languages.is_empty() || self.languages.contains(&language)
    }
}

pub(super) fn none_to_serve() -> Refusal {
    Refusal::failed("No matching recognizers were found to serve the request.")
}

/// The language of a request about recognizers; English unless it says another.
pub(super) fn language(named: Option<&str>) -> Result<&'static str, Refusal> {
    match named.filter(|name| !name.is_empty()) {
        None => Ok("en"),
        Some(name) => LANGUAGES.into_iter().find(|known| *known == name).ok_or_else(none_to_serve),
    }
}

/// What is found in a language for whoever names no entities, as far as the engine finds it.
pub(super) fn by_default<'e>(engine: &'e Engine, language: &str) -> Vec<&'e str> {
    let served =
        |entity: &&str| KNOWN.iter().any(|known| known.entity == *entity && known.by_default && known.speaks(language));
    engine.entities().into_iter().filter(served).collect()
}

/// The entities that can be asked for in a language, alphabetically.
pub(super) fn supported(engine: &Engine, language: &str) -> Vec<String> {
    // ISO 639 has no `kr`.
    let iso = if language == "kr" { "ko" } else { language };
    let speaks = |entity: &&str| {
        KNOWN.iter().any(|known| known.entity == *entity && known.speaks(language))
            || engine.recognizers().any(|about| {
                about.entity == *entity
                    && (about.languages.is_empty() || about.languages.iter().any(|spoken| spoken == iso))
            })
    };
    engine.entities().into_iter().filter(speaks).map(str::to_owned).collect()
}

/// The names of the recognizers that are used in a language without being asked for, alphabetically.
pub(super) fn recognizers(engine: &Engine, language: &str) -> Vec<String> {
    let mut names: Vec<String> = by_default(engine, language).into_iter().map(class).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What Presidio calls the recognizer of an entity, or would.
pub(super) fn class(entity: &str) -> String {
    if let Some(known) = KNOWN.iter().find(|known| known.entity == entity) {
        return known.class.to_owned();
    }
    let words = entity.split('_').filter(|word| !word.is_empty());
    let capitalized = words.map(|word| format!("{}{}", &word[..1], word[1..].to_ascii_lowercase()));
    capitalized.collect::<String>() + "Recognizer"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_has_presidios_sixteen_and_its_models_entities() {
        let served: Vec<&str> =
            KNOWN.iter().filter(|known| known.by_default && known.speaks("en")).map(|known| known.entity).collect();
        assert_eq!(served.len(), 16 + 3);
        let served: Vec<&str> =
            KNOWN.iter().filter(|known| known.by_default && known.speaks("es")).map(|known| known.entity).collect();
        assert_eq!(served.len(), 10 + 3 + 2);
    }

    #[test]
    fn every_language_is_one_that_is_served_and_no_entity_stands_twice() {
        for known in KNOWN {
            assert!(known.languages.iter().all(|language| LANGUAGES.contains(language)), "{}", known.entity);
            assert_eq!(KNOWN.iter().filter(|other| other.entity == known.entity).count(), 1, "{}", known.entity);
        }
    }

    #[test]
    fn recognizers_are_called_as_presidio_calls_them() {
        assert_eq!(class("US_DRIVER_LICENSE"), "UsLicenseRecognizer");
        assert_eq!(class("FR_NIR"), "FrNirRecognizer");
        assert_eq!(class("API_KEY"), "ApiKeyRecognizer");
    }

    #[test]
    fn languages_are_those_that_presidio_has() {
        assert_eq!(language(None), Ok("en"));
        assert_eq!(language(Some("")), Ok("en"));
        assert_eq!(language(Some("it")), Ok("it"));
        assert_eq!(language(Some("he")), Err(none_to_serve()));
    }
}
