//! Each query of docs/monitoring.md can be pasted.

use std::collections::BTreeMap;

use testenv::query_faults;

/// The columns that all sign-ins have.
/// <https://learn.microsoft.com/azure/azure-monitor/reference/tables/aadserviceprincipalsigninlogs> and the pages of the other tables.
macro_rules! sign_in {
    ($more:literal) => {
        concat!(
            "TimeGenerated: datetime, Type: string, AppId: string, ConditionalAccessStatus: string, CorrelationId: string, ",
            "Id: string, IPAddress: string, ResourceDisplayName: string, ResultDescription: string, ResultType: string, ",
            "UniqueTokenIdentifier: string, ",
            $more
        )
    };
}

/// As Microsoft documents them, with the columns that a query on the page may need.
const TABLES: [(&str, &str); 6] = [
    (
        "AADServicePrincipalSignInLogs",
        sign_in!(
            "ConditionalAccessPolicies: string, FederatedCredentialId: string, ServicePrincipalName: string, \
             ServicePrincipalCredentialKeyId: string, ServicePrincipalCredentialThumbprint: string"
        ),
    ),
    (
        "AADManagedIdentitySignInLogs",
        sign_in!(
            "ConditionalAccessPolicies: string, FederatedCredentialId: string, ServicePrincipalName: string, \
             ServicePrincipalCredentialKeyId: string, ServicePrincipalCredentialThumbprint: string"
        ),
    ),
    (
        "AADNonInteractiveUserSignInLogs",
        sign_in!("ConditionalAccessPolicies: string, UserPrincipalName: string"),
    ),
    // The only one of them with a `dynamic` column of that name.
    (
        "SigninLogs",
        sign_in!("ConditionalAccessPolicies: dynamic, UserPrincipalName: string"),
    ),
    (
        "AuditLogs",
        "TimeGenerated: datetime, Type: string, CorrelationId: string, InitiatedBy: dynamic, OperationName: string, \
         Result: string, TargetResources: dynamic",
    ),
    (
        "MicrosoftGraphActivityLogs",
        "TimeGenerated: datetime, Type: string, AppId: string, IPAddress: string, RequestId: string, \
         RequestMethod: string, RequestUri: string, ResponseStatusCode: int, Roles: string, Scopes: string, \
         SignInActivityId: string, UserAgent: string",
    ),
];

#[tokio::test]
async fn every_query_of_the_page_can_be_pasted_and_a_wrong_one_is_found() {
    let tables = BTreeMap::from(TABLES);
    let page = include_str!("../../docs/monitoring.md");
    let queries: Vec<&str> = page
        .split("```kusto\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(queries.len() > 5, "the page has {} queries", queries.len());
    let faults = query_faults(&tables, &queries).await.expect("the parser");
    assert_eq!(faults, "");

    // Reserved words, columns and tables that do not exist, types that differ, a part that is missing.
    let wrong = [
        "SigninLogs\n| summarize first = min(TimeGenerated)",
        "SigninLogs | project AppID",
        "SignInLogs | take 1",
        "AuditLogs | where ResultType == 0",
        "union AADServicePrincipalSignInLogs, AADManagedIdentitySignInLogs, SigninLogs | project AppId",
        "SigninLogs | where AppId ==",
    ];
    let faults = query_faults(&tables, &wrong).await.expect("the parser");
    for (index, query) in wrong.iter().enumerate() {
        let place = format!("query {}, line ", index + 1);
        assert!(faults.contains(&place), "{query} passes: {faults}");
    }
}
