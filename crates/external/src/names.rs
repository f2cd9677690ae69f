//! What the services' names for entities are called here: as Presidio calls them, where it has a name for it.

/// Google's infoTypes. All of them are asked for, unless the configuration names entities.
pub(crate) const GOOGLE: &[(&str, &str)] = &[
    ("PERSON_NAME", "PERSON"),
    ("EMAIL_ADDRESS", "EMAIL_ADDRESS"),
    ("PHONE_NUMBER", "PHONE_NUMBER"),
    ("STREET_ADDRESS", "ADDRESS"),
    ("DATE_OF_BIRTH", "DATE_OF_BIRTH"),
    ("AGE", "AGE"),
    ("CREDIT_CARD_NUMBER", "CREDIT_CARD"),
    ("CREDIT_CARD_TRACK_NUMBER", "CREDIT_CARD_TRACK"),
    ("IBAN_CODE", "IBAN_CODE"),
    ("SWIFT_CODE", "SWIFT_CODE"),
    ("IP_ADDRESS", "IP_ADDRESS"),
    ("MAC_ADDRESS", "MAC_ADDRESS"),
    ("IMEI_HARDWARE_ID", "IMEI"),
    ("VEHICLE_IDENTIFICATION_NUMBER", "VEHICLE_IDENTIFICATION_NUMBER"),
    ("MEDICAL_RECORD_NUMBER", "MEDICAL_RECORD_NUMBER"),
    ("PASSPORT", "PASSPORT"),
    ("PASSWORD", "PASSWORD"),
    ("AUTH_TOKEN", "API_KEY"),
    ("AWS_CREDENTIALS", "API_KEY"),
    ("GCP_API_KEY", "API_KEY"),
    ("GCP_CREDENTIALS", "API_KEY"),
    ("AZURE_AUTH_TOKEN", "API_KEY"),
    ("ENCRYPTION_KEY", "PRIVATE_KEY"),
    ("JSON_WEB_TOKEN", "JWT"),
    ("US_SOCIAL_SECURITY_NUMBER", "US_SSN"),
    ("US_INDIVIDUAL_TAXPAYER_IDENTIFICATION_NUMBER", "US_ITIN"),
    ("US_DRIVERS_LICENSE_NUMBER", "US_DRIVER_LICENSE"),
    ("US_PASSPORT", "US_PASSPORT"),
    ("US_BANK_ROUTING_MICR", "ABA_ROUTING_NUMBER"),
    ("US_HEALTHCARE_NPI", "US_NPI"),
    ("US_DEA_NUMBER", "MEDICAL_LICENSE"),
    ("UK_NATIONAL_HEALTH_SERVICE_NUMBER", "UK_NHS"),
    ("UK_NATIONAL_INSURANCE_NUMBER", "UK_NINO"),
    ("UK_PASSPORT", "UK_PASSPORT"),
    ("UK_DRIVERS_LICENSE_NUMBER", "UK_DRIVING_LICENCE"),
    ("CANADA_SOCIAL_INSURANCE_NUMBER", "CA_SIN"),
    ("AUSTRALIA_TAX_FILE_NUMBER", "AU_TFN"),
    ("AUSTRALIA_MEDICARE_NUMBER", "AU_MEDICARE"),
    ("BRAZIL_CPF_NUMBER", "BR_CPF"),
    ("FRANCE_NIR", "FR_NIR"),
    ("GERMANY_PASSPORT", "DE_PASSPORT"),
    ("GERMANY_IDENTITY_CARD_NUMBER", "DE_ID_CARD"),
    ("GERMANY_DRIVERS_LICENSE_NUMBER", "DE_FUEHRERSCHEIN"),
    ("GERMANY_TAXPAYER_IDENTIFICATION_NUMBER", "DE_TAX_ID"),
    ("INDIA_AADHAAR_INDIVIDUAL", "IN_AADHAAR"),
    ("INDIA_PAN_INDIVIDUAL", "IN_PAN"),
    ("ITALY_FISCAL_CODE", "IT_FISCAL_CODE"),
    ("JAPAN_INDIVIDUAL_NUMBER", "JP_MY_NUMBER"),
    ("KOREA_RRN", "KR_RRN"),
    ("MEXICO_CURP_NUMBER", "MX_CURP"),
    ("NETHERLANDS_BSN_NUMBER", "NL_BSN"),
    ("POLAND_PESEL_NUMBER", "PL_PESEL"),
    ("SINGAPORE_NATIONAL_REGISTRATION_ID_NUMBER", "SG_NRIC_FIN"),
    ("SPAIN_NIF_NUMBER", "ES_NIF"),
    ("SPAIN_NIE_NUMBER", "ES_NIE"),
    ("SWEDEN_NATIONAL_ID_NUMBER", "SE_PERSONNUMMER"),
];

/// Those that only the location `global` knows.
pub(crate) const GOOGLE_GLOBAL: &[(&str, &str)] = &[("LOCATION", "LOCATION"), ("ORGANIZATION_NAME", "ORGANIZATION")];

/// Comprehend's types (`PiiEntityType` of its API model). A type that is not here keeps its name.
pub(crate) const AWS: &[(&str, &str)] = &[
    ("ADDRESS", "ADDRESS"),
    ("AWS_ACCESS_KEY", "API_KEY"),
    ("AWS_SECRET_KEY", "API_KEY"),
    ("BANK_ACCOUNT_NUMBER", "US_BANK_NUMBER"),
    ("BANK_ROUTING", "ABA_ROUTING_NUMBER"),
    ("CA_SOCIAL_INSURANCE_NUMBER", "CA_SIN"),
    ("CREDIT_DEBIT_CVV", "CREDIT_CARD_CVV"),
    ("CREDIT_DEBIT_EXPIRY", "CREDIT_CARD_EXPIRY"),
    ("CREDIT_DEBIT_NUMBER", "CREDIT_CARD"),
    ("DRIVER_ID", "US_DRIVER_LICENSE"),
    ("EMAIL", "EMAIL_ADDRESS"),
    ("INTERNATIONAL_BANK_ACCOUNT_NUMBER", "IBAN_CODE"),
    ("IN_PERMANENT_ACCOUNT_NUMBER", "IN_PAN"),
    ("IN_VOTER_NUMBER", "IN_VOTER"),
    ("NAME", "PERSON"),
    ("PASSPORT_NUMBER", "PASSPORT"),
    ("PHONE", "PHONE_NUMBER"),
    ("SSN", "US_SSN"),
    ("UK_NATIONAL_HEALTH_SERVICE_NUMBER", "UK_NHS"),
    ("UK_NATIONAL_INSURANCE_NUMBER", "UK_NINO"),
    ("UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER", "UK_UTR"),
    ("US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "US_ITIN"),
];

/// Azure's categories. One that is not here keeps its name, spelled as ours are (`EUPassportNumber`: `EU_PASSPORT_NUMBER`).
pub(crate) const AZURE: &[(&str, &str)] = &[
    ("ABARoutingNumber", "ABA_ROUTING_NUMBER"),
    ("AUMedicalAccountNumber", "AU_MEDICARE"),
    ("AUTaxFileNumber", "AU_TFN"),
    ("BRCPFNumber", "BR_CPF"),
    ("CASocialInsuranceNumber", "CA_SIN"),
    ("CreditCardNumber", "CREDIT_CARD"),
    ("Date", "DATE_TIME"),
    ("DateTime", "DATE_TIME"),
    ("DEDriversLicenseNumber", "DE_FUEHRERSCHEIN"),
    ("DEIdentityCardNumber", "DE_ID_CARD"),
    ("DEPassportNumber", "DE_PASSPORT"),
    ("DETaxIdentificationNumber", "DE_TAX_ID"),
    ("DEVAT", "DE_VAT_ID"),
    ("Email", "EMAIL_ADDRESS"),
    ("ESDNI", "ES_NIF"),
    ("INPermanentAccount", "IN_PAN"),
    ("INUniqueIdentificationNumber", "IN_AADHAAR"),
    ("InternationalBankingAccountNumber", "IBAN_CODE"),
    ("IPAddress", "IP_ADDRESS"),
    ("ITFiscalCode", "IT_FISCAL_CODE"),
    ("JPMyNumberPersonal", "JP_MY_NUMBER"),
    ("KRResidentRegistrationNumber", "KR_RRN"),
    ("NLCitizensServiceNumber", "NL_BSN"),
    ("PLNationalID", "PL_PESEL"),
    ("SENationalID", "SE_PERSONNUMMER"),
    ("SWIFTCode", "SWIFT_CODE"),
    ("UKDriversLicenseNumber", "UK_DRIVING_LICENCE"),
    ("UKNationalHealthNumber", "UK_NHS"),
    ("UKNationalInsuranceNumber", "UK_NINO"),
    ("URL", "URL"),
    ("USBankAccountNumber", "US_BANK_NUMBER"),
    ("USDriversLicenseNumber", "US_DRIVER_LICENSE"),
    ("USIndividualTaxpayerIdentification", "US_ITIN"),
    ("USSocialSecurityNumber", "US_SSN"),
    ("USUKPassportNumber", "PASSPORT"),
];

/// What a service's name is called here.
pub(crate) fn named(table: &[(&str, &str)], name: &str) -> Option<String> {
    table.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned())
}

/// `EUPassportNumber` as `EU_PASSPORT_NUMBER`.
pub(crate) fn spelled(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut spelled = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let starts = c.is_ascii_uppercase()
            && (before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                || before.is_some_and(|b| b.is_ascii_uppercase())
                    && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
        if starts {
            spelled.push('_');
        }
        spelled.push(c.to_ascii_uppercase());
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_ours_can_be_in_a_token_and_none_of_theirs_stands_twice() {
        for table in [GOOGLE, GOOGLE_GLOBAL, AWS, AZURE] {
            for (position, (theirs, ours)) in table.iter().enumerate() {
                assert!(crate::is_name(ours), "{ours}");
                assert!(table[..position].iter().all(|(other, _)| other != theirs), "{theirs}");
            }
        }
    }

    #[test]
    fn names_without_a_row_are_spelled_as_ours() {
        for (theirs, ours) in [
            ("Person", "PERSON"),
            ("PhoneNumber", "PHONE_NUMBER"),
            ("EUPassportNumber", "EU_PASSPORT_NUMBER"),
            ("EUGPSCoordinates", "EUGPS_COORDINATES"),
            ("AzureDocumentDBAuthKey", "AZURE_DOCUMENT_DB_AUTH_KEY"),
            ("NZInlandRevenueNumber", "NZ_INLAND_REVENUE_NUMBER"),
            ("É", "É"),
        ] {
            assert_eq!(spelled(theirs), ours);
        }
    }
}
