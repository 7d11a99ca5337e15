# Plans with the real provider and no account: nothing is asked of AWS. What only an account would tell is given.
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_resource {
  target          = aws_cloudwatch_event_bus.central
  override_during = plan
  values          = { arn = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper" }
}

variables {
  organization_id = "o-abcdefghij"
}

run "policy" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudwatch_event_bus_policy.organization.policy).Statement == [{
      Sid       = "OrganizationSends"
      Effect    = "Allow"
      Principal = "*"
      Action    = "events:PutEvents"
      Resource  = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper"
      Condition = { StringEquals = { "aws:PrincipalOrgID" = "o-abcdefghij" } }
    }]
    error_message = "The organization's accounts may send, and nobody else."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name            = "default/bus"
    organization_id = "111122223333"
  }

  expect_failures = [var.name, var.organization_id]
}
