output "queue_url" {
  description = "The queue that the worker consumes."
  value       = module.pipeline.queue.url
}

output "dead_letter_queue_url" {
  description = "Events that the worker gave up on."
  value       = module.pipeline.dead_letter_queue.url
}

output "undelivered_queue_url" {
  description = "Events that EventBridge could not deliver."
  value       = module.pipeline.undelivered_queue.url
}

output "cluster_name" {
  description = "The ECS cluster, for aws ecs."
  value       = module.worker.cluster_name
}

output "service_name" {
  description = "The ECS service, for aws ecs."
  value       = module.worker.service_name
}

output "log_group_name" {
  description = "Where the worker's lines are, for aws logs tail."
  value       = module.worker.log_group_name
}

output "operators_policy_arn" {
  description = "What the commands check, sweep, replay and dlq need: attach it to the people who operate trailkeeper."
  value       = module.worker.operators_policy_arn
}

output "alarm_topic_arn" {
  description = "The topic that the alarms tell."
  value       = module.observability.alarm_topic_arn
}

output "forwarder_stack_set_name" {
  description = "How far it got: aws cloudformation list-stack-instances --call-as DELEGATED_ADMIN --stack-set-name …"
  value       = module.forwarders.stack_set_name
}

output "member_role_stack_set_name" {
  description = "Likewise."
  value       = module.member_roles.stack_set_name
}
