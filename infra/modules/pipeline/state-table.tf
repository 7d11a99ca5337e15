# Claims on events, shared by all tasks: what each item holds stands at the top of src/state/dynamodb.rs.
resource "aws_dynamodb_table" "state" {
  #checkov:skip=CKV_AWS_119:It holds the text of each Slack message, so names of people too; it is encrypted with DynamoDB's own key, and whoever may read the table reads them.
  #checkov:skip=CKV_AWS_28:point_in_time_recovery is the caller's to choose: it costs, and a lost table means duplicates handled twice.

  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"

  attribute {
    name = "pk"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }
}
