# Plans that infra/test reads.
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.here
  values = { account_id = "111122223333" }
}

variables {
  queue                    = { name = "q", arn = "arn:aws:sqs:eu-west-1:111122223333:q", url = "https://example.com/q" }
  dead_letter_queue        = { arn = "arn:aws:sqs:eu-west-1:111122223333:q-dlq" }
  state_table              = { name = "t", arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/t" }
  slack_webhook_secret_arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:webhook-AbCdEf"
  image                    = "ghcr.io/example/trailkeeper:1.0.0"
  vpc_id                   = "vpc-0123456789abcdef0"
  subnet_ids               = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
}

# With nothing but what must be given, for the scaling's numbers.
run "defaults" {
  command = plan
}

# With all that the worker and people may be allowed, for test_least_rights.py.
run "all_rights" {
  command = plan

  variables {
    member_role   = { name = "trailkeeper-member", external_id = "trailkeeper" }
    list_accounts = true
  }
}
